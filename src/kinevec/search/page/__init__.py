"""The page of `kinevec serve`: search by clip, look, and label, in a browser."""
