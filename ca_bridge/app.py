"""Puts the bridge together: settings → services → the WSGI application."""
