"""Data of trust: CA profiles, levels, policy, denials, trust lists, and the bundle that carries them (design §3)."""
