"""The toy trainer: a small instrumented language model whose dead tokens are known by construction."""
