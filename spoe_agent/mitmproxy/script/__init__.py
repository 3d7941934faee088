"""The folder of the script that mitmdump loads. mitmproxy puts it first on sys.path: nothing but route.py here."""
