"""The thin encoder of flow images: a ResNet of 1×3×3 convolutions, in which time steps never meet (MSCL)."""

from kinevec.models.resnet import VideoResNet, flat_conv, full_stem


class FlowNet(VideoResNet):
    """MSCL's flow encoder: 0.7 M parameters, C = 8·width; T×H×W → T×⌈H/16⌉×⌈W/16⌉.

    The published stem has stride 2 in time and a kernel one frame deep: it never looks at odd frames. So that
    nobody computes their flow or paints it, this one has stride 1 and is given the even frames alone
    (`kinevec.views.pipeline.FLOW_EVERY`); weights and results are the same.

    Args:
        width: channels of the first stage; the stages have (w, 2w, 4w, 8w).
        blocks: in each stage; 2 gives the layout of ResNet-18.
    """

    def __init__(self, width: int = 16, blocks: int = 2) -> None:
        stem = full_stem(width, (1, 7, 7), (1, 2, 2))
        widths = (width, 2 * width, 4 * width, 8 * width)
        strides = ((1, 1), (1, 2), (1, 2), (1, 2))
        super().__init__(stem, widths, (blocks, blocks, blocks, blocks), strides, flat_conv)
