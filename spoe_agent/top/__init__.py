"""`pointsman top`: the dashboard's scenes in a terminal."""
