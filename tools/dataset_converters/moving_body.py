#!/usr/bin/env python
"""Write the embedded default for human pose: the embedded figure in smooth motion, as frames and events.

Rendered at four times the frame rate, so that the events between frames are those of the motion.
Written in MMHPSD's layout A (as EventHPE's release), or B (as HumanPoseTracking's).
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import cv2
import joblib
import numpy as np
import skimage
import torch
from mmengine.utils import track_parallel_progress, track_progress

from mmsvf.body import JOINTS, MMHPSD_INTRINSICS, SkinnedBody, axis_angle_to_matrix, embedded_body, project
from mmsvf.body.rotations import matrix_to_axis_angle
from mmsvf.datasets.events import bin_events, simulate_events
from mmsvf.datasets.mmhpsd import RATE, SIZE

SUBSTEPS = 4
# What moves: part, axis (0 x, 1 y, 2 z), smallest and largest angle in radians, of the left side; on the right the
# angles about y and z change their sign. The rest pose has the arms to the side.
LIMBS = (
    ('shoulder', 2, -1.4, 1.2),
    ('shoulder', 1, -0.4, 0.2),
    ('elbow', 1, -0.9, 0.0),
    ('hip', 0, -0.4, 0.2),
    ('hip', 2, 0.0, 0.5),
    ('knee', 0, 0.0, 0.6),
)
TRUNK = (('spine1', 0.05), ('spine2', 0.05), ('spine3', 0.05), ('head', 0.2))  # largest angle about every axis
FACING = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # the figure's y up, z forward, seen by a camera: y down


def motion(rng: np.random.Generator, frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pose (T, 24, 3), shape (T, 10) and translation (T, 3): sums of two slow waves per degree of freedom."""
    time = np.arange(frames) / (RATE * SUBSTEPS)

    def wave(low: float, high: float) -> np.ndarray:
        """From low to high, of shape (T,)."""
        speed, phase = rng.uniform(0.15, 0.6, 2), rng.uniform(0, 2 * np.pi, 2)
        return low + (high - low) * (0.5 + np.sin(2 * np.pi * speed[:, None] * time + phase[:, None]).sum(0) / 4)

    pose = np.zeros((frames, 24, 3))
    for part, axis, low, high in LIMBS:
        for side, sign in (('left', 1), ('right', 1 if axis == 0 else -1)):
            pose[:, JOINTS.index(f'{side}_{part}'), axis] = sign * wave(low, high)
    for part, swing in TRUNK:
        pose[:, JOINTS.index(part)] = np.stack([wave(-swing, swing) for _ in range(3)], 1)
    yaw = rng.uniform(-0.3, 0.3) + wave(-0.2, 0.2)
    turn = axis_angle_to_matrix(torch.from_numpy(np.stack([0 * yaw, yaw, 0 * yaw], 1)).float())
    pose_tensor = torch.from_numpy(pose).float()
    pose_tensor[:, 0] = matrix_to_axis_angle(FACING @ turn)
    shape = torch.from_numpy(rng.normal(0, 0.7, 10)).float().expand(frames, 10)
    centre = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.05, 0.05), rng.uniform(2.8, 3.2)])
    moved = centre + np.stack([wave(-0.1, 0.1), wave(-0.03, 0.03), wave(-0.1, 0.1)], 1)
    return pose_tensor, shape, torch.from_numpy(moved).float()


def render(vertices: np.ndarray, faces: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A grey picture of the mesh (V, 3) in front of a background: triangles from back to front, lit from the camera."""
    picture = background.copy()
    pixels = project(torch.from_numpy(vertices), torch.tensor(MMHPSD_INTRINSICS)).numpy()
    (x, y), (u, v) = np.moveaxis(pixels[faces[:, 1:]] - pixels[faces[:, :1]], 0, -1)  # two sides of each
    faces = faces[x * v - y * u < 0]  # those that face the camera
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
    """Write a picture and its folder; OSError if it cannot be written."""
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


def write_recording(out: Path, layout: str, frames: int, seed: int, task: tuple[str, int]) -> None:
    """One recording (its split and number); the same whatever else is written."""
    split, number = task
    torch.set_num_threads(1)
    part, subject = (0, 3) if split == 'train' else (1, 1)
    texture = cv2.imread(str(Path(skimage.__file__).parent / 'data' / 'gravel.png'), cv2.IMREAD_GRAYSCALE)
    clip = record(np.random.default_rng([seed, part, number]), embedded_body(), texture, frames)
    write = write_a if layout == 'a' else write_b
    write(out, f'subject{subject:02d}_group{number % 3}_time{number}', clip)


def main() -> None:
    """Write the recordings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=60, help='training recordings (default: %(default)s)')
    parser.add_argument('--test', type=int, default=12, help='test recordings (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=65, help='frames per recording, at 15 Hz (default: %(default)s)')
    parser.add_argument('--layout', choices=['a', 'b'], default='a', help="MMHPSD's layout (default: %(default)s)")
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    args = parser.parse_args()
    one = partial(write_recording, args.out, args.layout, args.frames, args.seed)
    tasks = [(split, i) for split, count in (('train', args.train), ('test', args.test)) for i in range(count)]
    if args.workers > 1:
        track_parallel_progress(one, tasks, args.workers, keep_order=False)
    else:
        track_progress(one, tasks)
    print(f'\n{args.train} training and {args.test} test recordings of {args.frames} frames in {args.out}')


if __name__ == '__main__':
    main()
