# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the page says things: only what the record says, in words that a newcomer understands (design, invariant 13)."""

from __future__ import annotations

from typing import Any

STATES = {
    "suspect": "suspected",
    "confirmed": "confirmed, still going on",
    "ended": "confirmed, over",
    "interrupted": "interrupted: the camera was no longer watched while it went on",
    "unconfirmed": "seen once, not confirmed",
}
ASSESSED = {
    "fire": "fire or smoke",
    "false_alarm": "a false alarm",
    "unclear": "not clear",
}
MANUAL_STATES = {
    "confirmed": "being captured",
    "ended": "captured",
    "interrupted": "interrupted: the capture was broken off",
}
KINDS = {
    "first_suspect": "first suspicion",
    "first_confirmed": "confirmed",
    "hit": "seen",
    "context": "nothing above the threshold",
    "last_clean": "last clean picture before it",
    "first_visible": "first visible to this camera",
    "manual": "captured",
    "sibling": "kept for a fire on another camera",
    "reference": "reference picture",
}
SIGHTS = {
    "gone_back": "first visible",
    "in_doubt": "visible, perhaps earlier already",
    "burning_when_record_begins": "already burning when its record begins",
    "suspected": "first suspected, and not gone back from",
}
VIEWS = {
    "same": "a picture of the same view",
    "moved": "a picture from before the camera was moved",
    "cannot_tell": "a picture that cannot be compared with what it shows now",
}
CODECS = {"h264": "H.264", "hevc": "H.265"}
CLIP_CAUSES = {
    "confirmed": "with what was held in memory when the incident was confirmed",
    "sibling": "with what was held in memory when an incident was confirmed on another camera of its site",
    "run": "with a new run of the stream",
    "hole": "behind packets that were lost",
    "recorder": "when the recorder was there again",
    "imported": "with its file: it came from elsewhere",
}
CLIP_CLOSED = {
    "ended": "after the incident's end",
    "run": "with its run of the stream",
    "hole": "before packets that were lost",
    "incident": "when another incident was confirmed",
    "stop": "when Firewitness was stopped",
    "worker": "when the camera's process, or its connection to the recorder, went away",
    "recovery": "when Firewitness was killed or lost its power; it was closed at the next start",
    "imported": "with its file",
}
REASONS = {
    "unreachable": "no connection to the camera",
    "refused": "the camera refused the credentials",
    "stalled": "connected, but no pictures came",
    "no_picture": "black or covered",
    "frozen": "the same picture over and over",
    "decode": "the stream could not be decoded",
    "detector": "no detector was ready",
    "overload": "the detector was too slow",
    "worker": "the camera's process had died",
    "recorder": "nothing could be stored in time",
    "daemon": "Firewitness was not running",
    "disk": "the disk could not be used",
    "clock": "the clock was set to another time",
    "disabled": "switched off in the configuration",
}
_CONDITIONS_NOW = {"worker": "its process is starting", "daemon": "the daemon does not answer"}
_STREAM_STATES = {
    "connecting": "connecting", "waiting": "waiting before it connects again", "starting": "starting",
    "unknown": "not known", "removed": "no longer configured", "disabled": "switched off",
}  # fmt: skip


def camera_state(camera: dict[str, Any]) -> tuple[str, str]:
    """(tone, words) of an item of /api/v1/cameras; the tones are fire, good, bad and off."""
    state, condition = camera["state"], camera["condition"]
    if state in ("removed", "disabled"):
        return "off", _STREAM_STATES[state]
    if state == "unknown":
        return "bad", "not known: the daemon does not answer"
    if condition != "ok":
        reason = _CONDITIONS_NOW.get(condition) or REASONS.get(condition, condition)
        return "bad", f"not watched: {reason}"
    if state != "streaming":
        return "bad", f"not watched: {_STREAM_STATES.get(state, state)}"
    if camera["incident"] == "confirmed":
        return "fire", "watching, and sees fire or smoke"
    if camera["incident"]:
        return "fire", "watching, and suspects fire or smoke"
    return "good", "watching"


def incident_title(incident: dict[str, Any]) -> str:
    """What it is, in a few words."""
    if incident["kind"] == "manual":
        return f"captured: {incident['reason']}" if incident["reason"] else "captured"
    return " and ".join(incident["labels"]) or "incident"


def incident_state(incident: dict[str, Any]) -> str:
    """How it stands; of one that somebody asked for, without a word of the detector's."""
    if incident["drill"] and incident["state"] == "interrupted":
        return "over: the drill ended"
    if incident["kind"] == "imported" and incident["state"] == "unconfirmed":
        return "looked through, nothing confirmed"
    states = MANUAL_STATES if incident["kind"] == "manual" else STATES
    return states.get(state := str(incident["state"]), state)


def no_pictures(incident: dict[str, Any]) -> str:
    """Why an incident has no picture to show."""
    if incident["kind"] == "imported" and incident["state"] == "unconfirmed":
        return "Nothing was confirmed in the recording, so no picture was taken out of it; its clip is kept."
    return "Its pictures have been purged or are not stored yet."


def found(evidence: dict[str, Any]) -> str:
    """What was found in a picture; where nobody has looked, that."""
    if not evidence["detections"]:
        return "nothing found" if evidence["analysed"] else "not analysed"
    best = max(evidence["detections"], key=lambda each: float(each["confidence"]))
    more = len(evidence["detections"]) - 1
    return f"{best['label']} {best['confidence']:.2f}" + (f" +{more}" if more else "")


def duration(seconds: float) -> str:
    """Such as 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def relative(seconds: float) -> str:
    """Before and after a moment, such as −2.4 s, 0 s, +1 min 5 s."""
    away = round(abs(seconds), 1 if abs(seconds) >= 0.1 else 2)
    if away == 0:
        return "0 s"
    return ("−" if seconds < 0 else "+") + (f"{away:g} s" if away < 60 else duration(away))


def size(count: int) -> str:
    """Bytes for people: decimal units, as in the settings."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.0f} kB"


def share(part: float) -> str:
    """As per cent, rounded down: 100 % means that nothing was missed."""
    return f"{int(part * 1000) / 10:.1f} %"
