"""Owns the decision: the level a sign-in reaches, what the offline ladder takes from it, which certificate is held."""
