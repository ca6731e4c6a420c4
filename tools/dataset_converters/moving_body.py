#!/usr/bin/env python
"""Write the embedded default for human pose: the embedded figure in smooth motion, as frames and events.

Rendered at four times the frame rate, so that the events between frames are those of the motion.
Written in MMHPSD's layout A (as EventHPE's release), or B (as HumanPoseTracking's).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import joblib
import numpy as np
import skimage
import torch

from mmsvf.body import JOINTS, MMHPSD_INTRINSICS, SkinnedBody, axis_angle_to_matrix, embedded_body, project
from mmsvf.body.rotations import matrix_to_axis_angle
from mmsvf.datasets.events import bin_events, simulate_events
from mmsvf.datasets.mmhpsd import RATE, SIZE

SUBSTEPS = 4
# largest swing of a joint in radians, by the last part of its name
SWING = {'hip': 0.5, 'knee': 0.5, 'shoulder': 0.8, 'elbow': 0.8, 'spine1': 0.15, 'spine2': 0.15, 'spine3': 0.15}
SWING |= {'neck': 0.2, 'head': 0.2, 'ankle': 0.2, 'wrist': 0.2, 'collar': 0.1}
FACING = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # the figure's y up, z forward, seen by a camera: y down


def motion(rng: np.random.Generator, frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pose (T, 24, 3), shape (T, 10) and translation (T, 3): sums of two slow waves a degree of freedom."""
    time = np.arange(frames)[:, None] / (RATE * SUBSTEPS)

    def waves(amplitudes: np.ndarray) -> np.ndarray:
        count = len(amplitudes)
        speed, phase = rng.uniform(0.2, 0.8, (2, count)), rng.uniform(0, 2 * np.pi, (2, count))
        return amplitudes * sum(np.sin(2 * np.pi * speed[i] * time + phase[i]) for i in range(2)) / 2

    swing = np.array([SWING.get(name.split('_')[-1], 0.0) for name in JOINTS])
    pose = waves(np.repeat(swing, 3)).reshape(frames, 24, 3)
    arms = rng.uniform(-1.3, 0.3)  # arms hang, or are held out
    for name, sign in (('left_shoulder', 1), ('right_shoulder', -1)):
        pose[:, JOINTS.index(name), 2] += sign * arms
    yaw = rng.uniform(-0.8, 0.8) + waves(np.array([0.4]))
    turn = axis_angle_to_matrix(torch.from_numpy(np.hstack([0 * yaw, yaw, 0 * yaw])).float())
    pose_tensor = torch.from_numpy(pose).float()
    pose_tensor[:, 0] = matrix_to_axis_angle(FACING @ turn)
    shape = torch.from_numpy(rng.normal(0, 1, 10)).float().expand(frames, 10)
    centre = np.array([rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1), rng.uniform(2.8, 3.6)])
    translation = torch.from_numpy(centre + waves(np.array([0.3, 0.05, 0.3]))).float()
    return pose_tensor, shape, translation


def render(vertices: np.ndarray, faces: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A grey picture of the mesh (V, 3) in front of a background: triangles from back to front, lit from the camera."""
    picture = background.copy()
    pixels = project(torch.from_numpy(vertices), torch.tensor(MMHPSD_INTRINSICS)).numpy()
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    light = np.abs(normals @ np.array([0.4, -0.4, 0.82])) / (np.linalg.norm(normals, axis=1) + 1e-12)
    shift = 4  # bits of sub-pixel position
    points = np.round(pixels[faces] * 2**shift).astype(np.int32)
    for i in np.argsort(-corners[..., 2].mean(1)):
        cv2.fillConvexPoly(picture, points[i], (int(70 + 150 * light[i]),), cv2.LINE_AA, shift)
    return picture


def record(rng: np.random.Generator, body: SkinnedBody, texture: np.ndarray, frames: int) -> dict[str, np.ndarray]:
    """Pictures at ``SUBSTEPS`` times the frame rate, and what is annotated at each frame."""
    total = (frames - 1) * SUBSTEPS + 1
    pose, shape, translation = motion(rng, total)
    out = body(pose, shape, translation, vertices=True)
    assert out.vertices is not None and body.faces is not None
    top, left = (int(rng.integers(0, side - SIZE + 1)) for side in texture.shape)
    background = (texture[top : top + SIZE, left : left + SIZE] * 0.35).astype(np.uint8)
    pictures = np.stack([render(v, body.faces, background) for v in out.vertices.numpy()])
    joints_2d = project(out.joints, torch.tensor(MMHPSD_INTRINSICS))
    labels = dict(pose=pose, shape=shape, translation=translation, joints_3d=out.joints, joints_2d=joints_2d)
    return dict(pictures=pictures, **{name: value[::SUBSTEPS].numpy() for name, value in labels.items()})


def write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f'cannot write {path}')


def intervals(clip: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Events (x, y, t, p) of each interval between frames, t in microseconds."""
    pictures = clip['pictures']
    times = np.arange(len(pictures)) * (1e6 / (RATE * SUBSTEPS))
    x, y, t, p = simulate_events(pictures, times)
    t = t.astype(np.int64)
    edges = np.searchsorted(t, np.round(times[::SUBSTEPS]).astype(np.int64), side='left')
    edges[-1] = len(t)
    return [(x[a:b], y[a:b], t[a:b], p[a:b]) for a, b in zip(edges, edges[1:])]


def write_a(root: Path, action: str, clip: dict[str, np.ndarray]) -> None:
    """EventHPE's layout: 4-channel PNGs of quarters, frames, and joblib files."""
    poses = root / 'pose_events' / action
    poses.mkdir(parents=True, exist_ok=True)
    count = len(clip['pose'])
    joblib.dump(list(range(count)), poses / 'pose_info.pkl')
    for i in range(count):
        pixels = np.concatenate([clip['joints_2d'][i], clip['joints_3d'][i, :, 2:]], 1)
        pose = clip['pose'][i].reshape(1, 72)
        values = clip['shape'][i : i + 1], pose, clip['translation'][i : i + 1], clip['joints_3d'][i], pixels
        joblib.dump(values, poses / f'pose{i:04d}.pkl')
        write_picture(root / 'full_pic_256' / action / f'fullpic{i:04d}.jpg', clip['pictures'][i * SUBSTEPS])
    for i, (x, y, t, _) in enumerate(intervals(clip)):
        quarters = bin_events(x, y, t, 1, (SIZE, SIZE), bins=4)[0].transpose(1, 2, 0)
        write_picture(root / 'events_256' / action / f'event{i:04d}.png', quarters)


def write_b(root: Path, action: str, clip: dict[str, np.ndarray]) -> None:
    """HumanPoseTracking's layout: npz files, packed quarters and raw events."""
    folder = root / 'mmhpsd_events' / action
    for name in ('poses', 'events', 'events_frame_04'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(len(clip['pose'])):
        np.savez(
            folder / 'poses' / f'pose_{i:04d}.npz',
            body_pose=clip['pose'][i].reshape(1, 72),
            beta=clip['shape'][i : i + 1],
            trans=clip['translation'][i : i + 1],
            joints3d=clip['joints_3d'][i],
            joints2d=np.concatenate([clip['joints_2d'][i], clip['joints_3d'][i, :, 2:]], 1),
        )
        picture = root / 'mmhpsd_grayscale_img' / action / 'imgs' / f'fullpic{i:04d}.jpg'
        write_picture(picture, clip['pictures'][i * SUBSTEPS])
    for i, (x, y, t, p) in enumerate(intervals(clip)):
        np.savez(folder / 'events' / f'events_{i:04d}.npz', xy=np.stack([x, y], 1), t=t, p=p)
        quarters = bin_events(x, y, t, 1, (SIZE, SIZE), bins=4)[0].transpose(1, 2, 0)
        np.savez(folder / 'events_frame_04' / f'events_{i:04d}.npz', events_frame=np.packbits(quarters))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=24, help='training recordings (default: %(default)s)')
    parser.add_argument('--test', type=int, default=6, help='test recordings (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=61, help='frames a recording, at 15 Hz (default: %(default)s)')
    parser.add_argument('--layout', choices=['a', 'b'], default='a', help="MMHPSD's layout (default: %(default)s)")
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    args = parser.parse_args()
    body = embedded_body()
    texture = cv2.imread(str(Path(skimage.__file__).parent / 'data' / 'gravel.png'), cv2.IMREAD_GRAYSCALE)
    write = write_a if args.layout == 'a' else write_b
    for part, (split, subject, count) in enumerate((('train', 3, args.train), ('test', 1, args.test))):
        rng = np.random.default_rng([args.seed, part])
        for i in range(count):
            write(args.out, f'subject{subject:02d}_group{i % 3}_time{i}', record(rng, body, texture, args.frames))
        print(f'{count} {split} recordings of {args.frames} frames in {args.out}')


if __name__ == '__main__':
    main()
