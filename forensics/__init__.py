"""Pretrained-model embedding forensics."""
