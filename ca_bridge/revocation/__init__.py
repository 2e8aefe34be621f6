"""Status of certificates from local data: CRLs with scopes, reasons, deltas, indirect issuers (RFC 5280 §6.3)."""
