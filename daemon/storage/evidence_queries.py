# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which stills are asked for, and a still as the API tells it."""

from __future__ import annotations

from sqlalchemy import Select, exists, literal_column, select

from daemon.clock import rfc3339
from daemon.domain import REFERENCE, SIBLING
from daemon.storage.clip_queries import clip_item
from daemon.storage.index import ClipRow, EvidenceRow, SightingRow
from daemon.storage.paging import Item, Key, aside, within

CLIP = "clip"
UNANALYSED = (REFERENCE, "manual", SIBLING, CLIP)
"""Kinds of stills that do not tell that their camera was watched."""


def evidence_query(
    camera: str | None,
    from_ns: int | None,
    to_ns: int | None,
    label: str | None,
    min_confidence: float | None,
    incident: str | None,
    kind: str | None,
) -> Select[EvidenceRow]:
    """The stills that are asked for, in no order yet."""
    row, sighting = EvidenceRow, SightingRow
    at_ns, _ = evidence_key(camera, label, incident)
    wanted = within(at_ns, from_ns, to_ns)
    if incident is not None:
        wanted.append(row.incident == incident)
    if camera is not None:  # an incident's own index is the narrower one
        wanted.append((row.camera if incident is None else aside(row.camera)) == camera)
    if kind is not None:
        wanted.append((row.kind if incident is camera is label is None else aside(row.kind)) == kind)
    elif incident is None and at_ns is not sighting.captured_at_ns:  # what has either is no reference still
        wanted.append((row.kind if camera is None else aside(row.kind)) != literal_column(f"'{REFERENCE}'"))
    if kind is None and label is None:  # nothing was detected in a clip
        wanted += [aside(row.kind) != CLIP, ~exists().where(ClipRow.id == row.id)]
    query = select(row)
    if label is not None:
        strong = [sighting.label == label, *([] if min_confidence is None else [sighting.confidence >= min_confidence])]
        if at_ns is sighting.captured_at_ns:
            query = query.join(sighting, sighting.evidence == row.id).where(*strong)
        else:
            wanted.append(exists().where(sighting.evidence == row.id, *strong))
    elif min_confidence is not None:
        wanted.append(row.max_confidence >= min_confidence)
    return query.where(*wanted)


def evidence_key(camera: str | None, label: str | None, incident: str | None) -> Key:
    """(time, id) from the table whose index leads: sightings where the label alone narrows the search."""
    if label is not None and camera is None and incident is None:
        return SightingRow.captured_at_ns, SightingRow.evidence
    return EvidenceRow.captured_at_ns, EvidenceRow.id


def evidence_item(row: EvidenceRow, clip: Item | None) -> Item:
    """A still, with the clip that shows it; of a clip's row the clip."""
    record = row.record  # empty where the file was gone before its row was made
    if row.is_clip:
        return clip_item(row)
    return {
        "id": row.id,
        "camera": row.camera,
        "captured_at": rfc3339(row.captured_at_ns),
        "uncertainty_s": record.get("uncertainty_s"),
        "relative_uncertainty_s": record.get("relative_uncertainty_s"),
        "sha256": row.sha256,
        "bytes": row.bytes,
        "width": record.get("width_px"),
        "height": record.get("height_px"),
        "reduced_from": record.get("reduced_from_px"),
        "times": record.get("times", "measured"),
        "kind": row.kind,
        "drill": row.drill,
        "analysed": record.get("model") is not None if record else None,
        "detections": record.get("detections", []),
        "incident": row.incident,
        "image": f"/api/v1/evidence/{row.id}/image",
        "clip": clip,
    }
