"""The second half of `launcher doctor`, imported while the first half still looks."""

from __future__ import annotations

from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts
from launcher.device.policy.choice import by_default
from launcher.show.console import make_console
from launcher.show.doctor import doctor_json, show_doctor


def show(facts: DeviceFacts, *, as_json: bool, verbose: bool) -> bool:
    """Print what the facts mean; whether something has to be fixed."""
    diagnosis = by_default(diagnose(facts))
    if as_json:
        print(doctor_json(diagnosis, facts))
    else:
        show_doctor(diagnosis, facts, make_console(soft_wrap=False), verbose=verbose)
    return any(finding.severity is Severity.error for finding in diagnosis.findings)
