"""Thin translations between the relying party and a web framework."""
