"""The necks and heads of OpenMMLab that can stand behind another backbone, by name; :mod:`.rules` adapts them."""

from __future__ import annotations

# heads that take one feature map of each sample; those on the right read tokens or two pathways, so the plain head of
# the same framework takes their place
RECOGNIZERS = {'Recognizer2D', 'Recognizer3D', 'ClipRecognizer'}
ACTION_HEADS = {'I3DHead', 'TSNHead', 'TSMHead', 'TRNHead', 'SpikeClsHead'}
ACTION_REPLACED = {'SlowFastHead', 'TimeSformerHead', 'MViTHead', 'UniFormerHead', 'X3DHead'}
PRETRAIN_HEADS = {'LinearClsHead', 'StackedLinearClsHead', 'MultiLabelLinearClsHead', 'ArcFaceClsHead'}
PRETRAIN_REPLACED = {
    *('VisionTransformerClsHead', 'DeiTClsHead', 'ConformerHead', 'LeViTClsHead', 'EfficientFormerClsHead'),
    *('VigClsHead', 'ClsHead'),
}
SEG_HEADS = {
    *('FCNHead', 'PSPHead', 'ASPPHead', 'DepthwiseSeparableASPPHead', 'UPerHead', 'FPNHead', 'SegformerHead'),
    *('EncHead', 'ANNHead', 'CCHead', 'DAHead', 'GCHead', 'ISAHead', 'NLHead', 'PSAHead', 'APCHead', 'DMHead'),
    *('DNLHead', 'EMAHead', 'OCRHead', 'PointHead', 'LightHamHead', 'IterativeDecodeHead', 'Mask2FormerHead'),
    *('MaskFormerHead',),
}
# networks in which the decoder is part of the backbone: what their heads read is no feature pyramid
SEG_BACKBONES_REFUSED = {
    *('BiSeNetV1', 'BiSeNetV2', 'ICNet', 'FastSCNN', 'UNet', 'CGNet', 'ERFNet', 'STDCContextPathNet', 'PIDNet'),
    *('DDRNet', 'DeepLabV3+'),
}
SEG_NECKS = {'FPN', 'MultiLevelNeck', 'Feature2Pyramid'}
SEG_NECKS_DROPPED = {'MultiLevelNeck', 'Feature2Pyramid'}  # they make a pyramid of one scale; ours is one
POSE_HEADS = {
    *('HeatmapHead', 'SimCCHead', 'RTMCCHead', 'RegressionHead', 'RLEHead', 'DSNTHead', 'IntegralRegressionHead'),
}
POSE_NECKS = {'GlobalAveragePooling', 'FeatureMapProcessor'}
DET_NECKS = {'FPN', 'PAFPN', 'ChannelMapper'}  # from stride 16 on they make the next levels themselves
DET_QUERY_HEADS = {'Mask2FormerHead', 'MaskFormerHead'}

# constructors that know the layers of one backbone by name; mmpretrain's asks the backbone
OPTIM_CONSTRUCTORS = {
    *('SwinOptimWrapperConstructor', 'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor'),
    *('LayerDecayOptimWrapperConstructor',),
}
PARAMWISE = {
    *('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult'),
    *('dcn_offset_lr_mult', 'bypass_duplicate', 'custom_keys'),
}
