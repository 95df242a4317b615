"""One optimizer step on stored words: the rule, the number formats, and the arithmetic in between."""

from forensics.updates.rules import POLICIES, Policy, Rule, require_pair

__all__ = ["POLICIES", "Policy", "Rule", "require_pair"]
