"""Owns who a certificate's holder is: numbers and check digits, extraction by CA profile, person and subject keys.

Numbers and names pass through here and are never logged nor put into an error's text.
"""
