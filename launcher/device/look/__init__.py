"""Probes: looks at the machine and returns facts. Only here something is started, opened or asked."""
