"""Dynamic MobileNets of EfficientAT, DyMN (Schmid, Koutini, Widmer 2024): convolution weights,
activations and attention over frequency and time follow from a context of each block's input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_N_KERNELS, _BATCH_NORM_EPS = 4, 1e-3


class DynamicConv(nn.Module):
    """x [B, C, F, T] and context [B, H] -> each clip convolved with its own mean of 4 kernels."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        context: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.shape = (c_out, c_in // groups, kernel, kernel)
        self.stride, self.groups = stride, groups
        self.temperature = 1.0
        n_weights = c_out * c_in // groups * kernel * kernel
        self.residuals = nn.Sequential(nn.Linear(context, _N_KERNELS))
        self.weight = nn.Parameter(0.01 * torch.randn(1, 1, _N_KERNELS, n_weights))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        attention = torch.softmax(self.residuals(context) / self.temperature, 1)
        kernels = (attention @ self.weight[0, 0]).unflatten(1, self.shape)  # [B, out, in, k, k]
        y = functional.conv2d(
            x.flatten(0, 1)[None],
            kernels.flatten(0, 1),
            stride=self.stride,
            padding=(self.shape[2] - 1) // 2,
            groups=len(x) * self.groups,
        )
        out: Tensor = y[0].unflatten(0, (len(x), -1))
        return out


class DynamicReLU(nn.Module):
    """max(a1 x + b1, a2 x + b2), the coefficients from the context; same shape."""

    lambdas: Tensor
    init_v: Tensor

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.coef_net = nn.Sequential(nn.Linear(context, 4 * channels))
        self.register_buffer("lambdas", torch.tensor([1.0, 1.0, 0.5, 0.5]))
        self.register_buffer("init_v", torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        theta = 2.0 * torch.sigmoid(self.coef_net(context)) - 1.0
        coefficients = theta.unflatten(1, (-1, 4)) * self.lambdas + self.init_v
        a1, a2, b1, b2 = coefficients[..., None, None].unbind(2)
        return torch.maximum(a1 * x + b1, a2 * x + b2)


class ContextGenerator(nn.Module):
    """x [B, C, F, T] -> context [B, H], and attention [B, expanded, F', 1] and [.., 1, T']."""

    def __init__(self, c_in: int, context: int, expanded: int, stride: int) -> None:
        super().__init__()
        self.joint_conv = nn.Conv2d(c_in, context, 1, bias=False)
        self.joint_norm = nn.BatchNorm2d(context, eps=_BATCH_NORM_EPS)
        self.conv_f, self.conv_t = (nn.Conv2d(context, expanded, 1) for _ in "ft")
        self.stride = stride

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        joint = torch.cat([x.mean(3), x.mean(2)], 2)[..., None]  # [B, C, F + T, 1]
        joint = functional.hardswish(self.joint_norm(self.joint_conv(joint)))
        of_f, of_t = joint.split([x.shape[2], x.shape[3]], 2)
        if self.stride > 1:
            of_f, of_t = (
                functional.avg_pool2d(part, (3, 1), (self.stride, 1), (1, 0))
                for part in (of_f, of_t)
            )
        attention_t = torch.sigmoid(self.conv_t(of_t)).transpose(2, 3)
        return joint.mean((2, 3)), torch.sigmoid(self.conv_f(of_f)), attention_t


class DynamicBlock(nn.Module):
    """Inverted residual block of dynamic convolutions; [B, C, F, T] -> [B, C', F', T']."""

    exp_norm: nn.Module

    def __init__(
        self,
        c_in: int,
        expanded: int,
        c_out: int,
        kernel: int,
        stride: int,
        context: int,
        act: type[nn.Module],
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and c_in == c_out
        self.context_gen = ContextGenerator(c_in, context, expanded, stride)
        self.exp_conv = None
        if expanded != c_in:
            self.exp_conv = DynamicConv(c_in, expanded, context)
            self.exp_norm = nn.BatchNorm2d(expanded, eps=_BATCH_NORM_EPS)
        self.act = act()
        self.depth_conv = DynamicConv(expanded, expanded, context, kernel, stride, expanded)
        self.depth_norm = nn.BatchNorm2d(expanded, eps=_BATCH_NORM_EPS)
        self.depth_act = DynamicReLU(expanded, context)
        self.proj_conv = DynamicConv(expanded, c_out, context)
        self.proj_norm = nn.BatchNorm2d(c_out, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        context, attention_f, attention_t = self.context_gen(x)
        y = x
        if self.exp_conv is not None:
            y = self.act(self.exp_norm(self.exp_conv(y, context)))
        y = self.depth_act(self.depth_norm(self.depth_conv(y, context)), context)
        y = y * attention_f * attention_t
        y = self.proj_norm(self.proj_conv(y, context))
        out: Tensor = x + y if self.residual else y
        return out
