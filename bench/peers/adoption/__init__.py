"""The same window with each library: a public page, one that asks a sign-in, signing out here and at the provider."""
