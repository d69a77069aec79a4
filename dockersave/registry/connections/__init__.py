"""Connections: sockets, TLS, proxies, HTTP/1.1, and what their failures mean."""
