"""The methods that train an encoder."""
