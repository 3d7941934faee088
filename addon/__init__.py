"""What mitmproxy loads in a checkout. It puts this folder first on sys.path: nothing but route.py here."""
