"""Registries of mmsvf: children of MMEngine's roots, scope 'mmsvf', mirrored into the roots.

The mirror makes both ``type='SpikeVideoFormer'`` and ``type='mmsvf.SpikeVideoFormer'`` build
under the default scope of every OpenMMLab framework. Entries are declared by name here and
their modules load when a config first asks for them, so a missing framework matters only to
the configs that need it.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any, Callable

import mmengine.registry as root
from mmengine.registry import Registry
from mmengine.utils import ManagerMixin

from .frameworks import missing_framework
from .plug_ins import SOURCES


class PluginRegistry(Registry):
    """A child registry whose entries also stand in its parent, and may be declared before they are loaded."""

    def __init__(self, name: str, parent: Registry) -> None:
        super().__init__(name, parent=parent, scope='mmsvf')
        self._declared: dict[str, str] = {}

    def declare(self, module: str, *names: str, mirrored: bool = True) -> None:
        """Register ``names`` of ``module``, which is imported when one of them is first asked for.

        Names that are not ``mirrored`` into the parent stay free for others there; configs write 'mmsvf.NAME'.
        """
        for name in names:
            self._declared[name] = module
            if mirrored:
                self._register_module(self._builder(name), name)
            else:
                super()._register_module(self._builder(name), name)

    def _builder(self, name: str) -> Callable[..., Any]:
        def build(*args: Any, **kwargs: Any) -> Any:
            entry: Any = self._load(name)
            if issubclass(entry, ManagerMixin):  # visualizers, which others then find by their names
                return entry.get_instance(*args, **kwargs)
            return entry(*args, **kwargs)

        build.__name__ = name
        build.__module__ = self._declared[name]
        return build

    def _load(self, name: str) -> type:
        module = self._declared[name]
        try:
            found = getattr(import_module(module), name)  # a decorator there replaces the declared entry
        except ImportError as error:
            raise missing_framework(error, name) from error
        self._module_dict[name] = found
        return found

    def _register_module(self, module: Any, module_name: Any = None, force: bool = False) -> None:
        name = module_name or module.__name__
        declared = isinstance(name, str) and self._declared.get(name) == module.__module__
        super()._register_module(module, module_name, force or declared)
        assert self.parent is not None
        self.parent._register_module(module, module_name, force or declared)

    def declared(self, package: str) -> dict[str, Callable[[], type]]:
        """Names of the declared entries of a package's modules, each with a function that imports its class."""
        inside = (name for name, module in self._declared.items() if module.startswith(f'{package}.'))
        return {name: partial(self._load, name) for name in inside}

    def get(self, key: str) -> Any:
        """As ``Registry.get``, but a declared entry is loaded, so that the result is the class."""
        name = key[len('mmsvf.') :] if key.startswith('mmsvf.') else key
        if name in self._declared:
            self._load(name)
            return self._module_dict[name]
        return super().get(key)


MODELS = PluginRegistry('model', root.MODELS)
DATASETS = PluginRegistry('dataset', root.DATASETS)
TRANSFORMS = PluginRegistry('transform', root.TRANSFORMS)
METRICS = PluginRegistry('metric', root.METRICS)
HOOKS = PluginRegistry('hook', root.HOOKS)
DATA_SAMPLERS = PluginRegistry('data sampler', root.DATA_SAMPLERS)
MODEL_WRAPPERS = PluginRegistry('model_wrapper', root.MODEL_WRAPPERS)
VISUALIZERS = PluginRegistry('visualizer', root.VISUALIZERS)

MODELS.declare('mmsvf.models.backbones.spike_video_former', 'SpikeVideoFormer')
MODELS.declare('mmsvf.models.backbones.frame_backbone', 'FrameBackbone')
MODELS.declare('mmsvf.models.backbones.statten', 'STAtten')
MODELS.declare('mmsvf.models.backbones.spikformer', 'Spikformer')
MODELS.declare('mmsvf.models.backbones.spiking_resnets', 'SEWResNet', 'MSResNet')
MODELS.declare('mmsvf.models.classifiers.distilled', 'DistilledImageClassifier')
MODELS.declare('mmsvf.models.data_preprocessors.clip_pose', 'ClipPoseDataPreprocessor')
MODELS.declare('mmsvf.models.data_preprocessors.clip_seg', 'ClipSegDataPreProcessor')
MODELS.declare('mmsvf.models.heads.smpl_head', 'SMPLHead')
MODELS.declare('mmsvf.models.heads.spike_cls_head', 'SpikeClsHead')
MODELS.declare('mmsvf.models.heads.spike_fpn_head', 'SpikeFPNHead')
MODELS.declare('mmsvf.models.heads.spike_image_cls_head', 'SpikeImageClsHead')
MODELS.declare('mmsvf.models.losses.smpl_loss', 'SMPLLoss')
MODELS.declare('mmsvf.models.necks.frame_fusion', 'FrameGRU', 'SpaceTimeTransformer')
MODELS.declare('mmsvf.models.necks.memory_read_fuse', 'MemoryReadFuse')
MODELS.declare('mmsvf.models.necks.spike_fpn', 'SpikeFPN')
MODELS.declare('mmsvf.models.pose_estimators.video_pose_estimator', 'VideoPoseEstimator')
MODELS.declare('mmsvf.models.recognizers.clip_recognizer', 'ClipRecognizer')
MODELS.declare('mmsvf.models.segmentors.clip_encoder_decoder', 'ClipEncoderDecoder')
MODELS.declare('mmsvf.spiking.attention', 'SpikeAttention', mirrored=False)
MODELS.declare('mmsvf.spiking.hamming', 'hamming_attention', 'dot_attention', mirrored=False)
MODELS.declare('mmsvf.spiking.integer_neurons', 'IntegerLIF', mirrored=False)
MODELS.declare('mmsvf.spiking.layers', 'PointwiseConv', 'RepConv', mirrored=False)
MODELS.declare('mmsvf.spiking.leaky_neurons', 'LIF', 'LearnableLIF', mirrored=False)
MODELS.declare('mmsvf.spiking.memory', 'MemoryRead', mirrored=False)
DATASETS.declare('mmsvf.datasets.cityscapes_clips', 'CityscapesClipDataset')
DATASETS.declare('mmsvf.datasets.imagenet_c', 'ImageNetC')
DATASETS.declare('mmsvf.datasets.mmhpsd', 'MMHPSDDataset')
DATASETS.declare('mmsvf.engine.exact_resume.seeded', 'SeededDataset')
DATASETS.declare('mmsvf.datasets.skip_unreadable', 'SkipUnreadable')
DATA_SAMPLERS.declare('mmsvf.engine.exact_resume.seeded', 'NumberedSampler')
DATASETS.declare('mmsvf.datasets.video_clips', 'VideoClipDataset')
DATASETS.declare('mmsvf.datasets.vspw', 'VSPWDataset')
TRANSFORMS.declare('mmsvf.datasets.event_transforms', 'BinEvents', 'LoadEventCounts', 'LoadEvents', 'SimulateEvents')
TRANSFORMS.declare('mmsvf.datasets.pose_transforms', 'PackPoseClip', 'ResizeClip', 'RotateClip')
TRANSFORMS.declare('mmsvf.datasets.video_transforms', 'SampleClip')
TRANSFORMS.declare(
    'mmsvf.datasets.segmentation_transforms', 'ClipPhotoMetricDistortion', 'DegradeLastFrame', 'LoadEarlierFrames'
)
METRICS.declare('mmsvf.evaluation.smpl_pose', 'SMPLPoseMetric')
METRICS.declare('mmsvf.evaluation.video_seg', 'VideoSegMetric')
METRICS.declare('mmsvf.evaluation.corruption_accuracy', 'CorruptionAccuracy')
HOOKS.declare('mmsvf.engine.exact_resume.hook', 'ExactResumeHook')
HOOKS.declare('mmsvf.engine.hooks.finite_hook', 'FiniteHook')
HOOKS.declare('mmsvf.engine.hooks.fuse_hook', 'FuseHook')
HOOKS.declare('mmsvf.engine.hooks.firing_rate_hook', 'FiringRateHook', 'SpikeSparsityHook')
HOOKS.declare('mmsvf.engine.hooks.load_report_hook', 'LoadReportHook')
HOOKS.declare('mmsvf.engine.hooks.mask_label_hook', 'MaskLabelHook')
HOOKS.declare('mmsvf.engine.hooks.optimizer_report_hook', 'OptimizerReportHook')
HOOKS.declare('mmsvf.engine.hooks.pose_video_visualization', 'PoseVideoVisualizationHook')
HOOKS.declare('mmsvf.engine.hooks.video_visualization', 'VideoVisualizationHook')
VISUALIZERS.declare('mmsvf.visualization.seg_video', 'SegVideoVisualizer')


def _registered(name: str) -> Any:
    """What the current scope, or this one, has under a name; None if nothing."""
    with root.MODELS.switch_scope_and_registry(None) as current:
        return current.get(name) or MODELS.get(name)


SOURCES.append(_registered)
