"""Dead rows alone under the optimizer, pushed by recorded or parametric hidden states."""
