"""Applications that use the SDK as a department would: nothing here is imported by the product."""
