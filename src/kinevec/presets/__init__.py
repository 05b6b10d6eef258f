"""The presets, one TOML file each; the first line of a file says what it is."""
