"""The mitmproxy front end, for development. mitmproxy puts this folder first on sys.path: nothing but route.py here."""
