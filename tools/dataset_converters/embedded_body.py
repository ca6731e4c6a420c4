#!/usr/bin/env python
"""Write the embedded body, mmsvf/body/embedded_body.npz: a procedural figure of tubes around 24 joints.

It has the arrays of a SMPL file and its tree of joints, but nothing of SMPL itself: joints are
placed by hand at usual human proportions, each bone is a tapered tube, and the ten shape
directions are ten dimensions of the figure (height, girth, legs, arms, ...), found by difference. It
is part of this project, under its licence (Apache-2.0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmsvf.body import JOINTS, PARENTS

AROUND, ALONG = 10, 5  # vertices of a ring, rings of a bone
# metres in the rest pose (arms to the side): x to the figure's left, y up, z forward; the right side mirrors the left
PLACES = {
    'pelvis': (0, 0, 0), 'left_hip': (0.09, -0.08, 0), 'spine1': (0, 0.11, -0.02), 'left_knee': (0.1, -0.49, 0.01),
    'spine2': (0, 0.24, -0.02), 'left_ankle': (0.1, -0.9, -0.03), 'spine3': (0, 0.33, -0.01),
    'left_foot': (0.11, -0.95, 0.1), 'neck': (0, 0.5, -0.02), 'left_collar': (0.07, 0.44, -0.02),
    'head': (0, 0.6, 0.01), 'left_shoulder': (0.18, 0.43, -0.02), 'left_elbow': (0.44, 0.43, -0.03),
    'left_wrist': (0.69, 0.43, -0.02), 'left_hand': (0.78, 0.43, -0.01),
}  # fmt: skip
# radius of the tube at the joint
RADII = {
    'pelvis': 0.14, 'hip': 0.09, 'spine1': 0.13, 'knee': 0.055, 'spine2': 0.14, 'ankle': 0.04, 'spine3': 0.15,
    'foot': 0.03, 'neck': 0.06, 'collar': 0.09, 'head': 0.09, 'shoulder': 0.06, 'elbow': 0.042, 'wrist': 0.03,
    'hand': 0.03,
}  # fmt: skip
DIMENSIONS = ('height', 'girth', 'legs', 'arms', 'torso', 'shoulders', 'hips', 'belly', 'head', 'limbs')
SPREAD = dict(
    height=0.04,
    girth=0.1,
    legs=0.05,
    arms=0.05,
    torso=0.05,
    shoulders=0.06,
    hips=0.08,
    belly=0.15,
    head=0.06,
    limbs=0.1,
)


def figure(change: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Joints (24, 3) and radii (24,) of a figure whose dimensions are changed by shares."""
    scale = {name: 1 + change.get(name, 0.0) for name in DIMENSIONS}
    places, radii = [], []
    for name in JOINTS:
        side = -1 if name.startswith('right') else 1
        x, y, z = PLACES[name.replace('right', 'left')]
        part = name.split('_')[-1]
        if part in ('elbow', 'wrist', 'hand'):
            x = PLACES['left_shoulder'][0] * scale['shoulders'] + (x - PLACES['left_shoulder'][0]) * scale['arms']
        elif part in ('shoulder', 'collar'):
            x *= scale['shoulders']
        elif part in ('hip', 'knee', 'ankle', 'foot'):
            x *= scale['hips']
        y *= scale['torso'] if y > 0 else scale['legs']
        radius = RADII[part] * scale['girth']
        radius *= scale['belly'] if part in ('spine1', 'spine2', 'pelvis') else 1
        radius *= scale['head'] if part == 'head' else 1
        radius *= scale['limbs'] if part in ('knee', 'ankle', 'elbow', 'wrist') else 1
        places.append(np.array([side * x, y, z]) * scale['height'])
        radii.append(radius * scale['height'])
    return np.array(places), np.array(radii)


def ring(centre: np.ndarray, axis: np.ndarray, radius: float) -> np.ndarray:
    """Vertices (AROUND, 3) on a circle; their mean is its centre."""
    axis = axis / np.linalg.norm(axis)
    helper = np.array([0, 0, 1.0]) if abs(axis[2]) < 0.9 else np.array([0, 1.0, 0])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    angles = 2 * np.pi * np.arange(AROUND) / AROUND
    return centre + radius * (np.cos(angles)[:, None] * u + np.sin(angles)[:, None] * v)


def mesh(change: dict[str, float]) -> np.ndarray:
    """Vertices (V, 3): a ring at each joint, then the tube of each bone; a cap for the head."""
    places, radii = figure(change)
    rings = []
    for joint, parent in enumerate(PARENTS):
        axis = places[joint] - places[parent] if joint else np.array([0, 1.0, 0])
        rings.append(ring(places[joint], axis, radii[joint]))
    for joint, parent in enumerate(PARENTS[1:], 1):
        for step in range(ALONG):
            share = step / (ALONG - 1)
            centre = (1 - share) * places[parent] + share * places[joint]
            radius = (1 - share) * radii[parent] + share * radii[joint]
            thin = min(radius, 1.3 * radii[joint])  # a thin limb does not start as thick as the trunk
            rings.append(ring(centre, places[joint] - places[parent], thin))
    head = JOINTS.index('head')
    up = places[head] - places[JOINTS.index('neck')]
    up /= np.linalg.norm(up)
    for share in (0.35, 0.8, 1.2, 1.5):
        radius = radii[head] * np.sqrt(max(0.02, 1 - (share - 0.6) ** 2))
        rings.append(ring(places[head] + share * radii[head] * up, up, radius))
    return np.concatenate(rings)


def weights() -> np.ndarray:
    """Skinning weights (V, 24): a tube moves with the joint it starts from, and shares its ends."""
    rows = [[(j, 1.0)] for j in range(24)]
    for joint, parent in enumerate(PARENTS[1:], 1):
        for step in range(ALONG):
            share = step / (ALONG - 1)
            before, after = max(0.0, 0.5 - 2 * share), max(0.0, 2 * share - 1.5)
            above = PARENTS[parent] if parent else parent
            rows.append([(parent, 1 - before - after), (above, before), (joint, after)])
    rows += [[(JOINTS.index('head'), 1.0)]] * 4
    result = np.zeros((len(rows), 24))
    for i, row in enumerate(rows):
        for joint, value in row:
            result[i, joint] += value
    return np.repeat(result, AROUND, 0)


def faces(rings: int) -> np.ndarray:
    """Triangles (F, 3) between the rings of each tube and of the head."""
    pairs = [
        (24 + ALONG * bone + step, 24 + ALONG * bone + step + 1) for bone in range(23) for step in range(ALONG - 1)
    ]
    top = rings - 4
    pairs += [(JOINTS.index('head'), top), *((top + i, top + i + 1) for i in range(3))]
    triangles = []
    for a, b in pairs:
        for i in range(AROUND):
            j = (i + 1) % AROUND
            p, q, r, s = a * AROUND + i, a * AROUND + j, b * AROUND + i, b * AROUND + j
            triangles += [(p, q, r), (q, s, r)]
    return np.array(triangles)


def body() -> dict[str, np.ndarray]:
    """The arrays, by the names of a SMPL file."""
    template = mesh({})
    count = len(template)
    directions = [mesh({name: SPREAD[name]}) - template for name in DIMENSIONS]
    regressor = np.zeros((24, count))
    for joint in range(24):
        regressor[joint, joint * AROUND : (joint + 1) * AROUND] = 1 / AROUND
    tree = np.stack([np.array(PARENTS) % 2**32, np.arange(24)]).astype(np.uint32)
    return dict(
        v_template=template.astype(np.float32),
        shapedirs=np.stack(directions, -1).astype(np.float32),
        J_regressor=regressor.astype(np.float32),
        weights=weights().astype(np.float32),
        posedirs=np.zeros((count, 3, 207), np.float32),
        f=faces(count // AROUND).astype(np.uint16),
        kintree_table=tree,
        licence=np.array('Apache-2.0; procedural, written by tools/dataset_converters/embedded_body.py of mmsvf'),
    )


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[2] / 'mmsvf' / 'body' / 'embedded_body.npz'
    parser.add_argument('out', type=Path, nargs='?', default=default, help='file to write (default: %(default)s)')
    args = parser.parse_args()
    arrays = body()
    np.savez_compressed(args.out, **arrays)
    print(f'{len(arrays["v_template"])} vertices, {len(arrays["f"])} triangles, {args.out.stat().st_size} bytes')


if __name__ == '__main__':
    main()
