"""Two departmental windows of the demo province, on the relying-party SDK: 公安 (police) and 环保 (environment)."""
