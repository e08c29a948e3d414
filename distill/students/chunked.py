"""Linear attention with one decay per head: what the selective state space and the mLSTM compute,
in chunks of matrix products for training and step by step for streaming.

State-space duality (Dao & Gu 2024) and the chunkwise mLSTM (Beck et al. 2025) are this one sum:

    y[t] = sum_{s <= t} exp(F[t] - F[s] + g[s] - m[t]) (q[t] . k[s]) v[s],   F = cumsum(log_decay)

Within a chunk it is a masked matrix product; chunks pass on the state, the matrix that all
earlier k v^T add up to. Queries and keys are shared by the heads ("multi-value attention").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 16


def pad_to_chunks(u: Tensor) -> Tensor:
    """u [B, T, D] with zeros after it, up to a multiple of CHUNK steps."""
    return functional.pad(u, (0, 0, 0, -u.shape[1] % CHUNK))


def running_maximum(log_decay: Tensor, log_gain: Tensor) -> Tensor:
    """m[t] = max_{s <= t} F[t] - F[s] + g[s], [B, T, H]: the largest weight in each sum."""
    decay = log_decay.cumsum(1)
    return decay + (log_gain - decay).cummax(1).values


def decayed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    log_gain: Tensor,
    log_scale: Tensor,
) -> Tensor:
    """query, key [B, T, N], value [B, T, H, P], log_decay, log_gain (g), log_scale (m) [B, T, H]
    -> y [B, T, H, P]. T must be a multiple of CHUNK."""
    n_chunks = value.shape[1] // CHUNK
    query, key, value, log_decay, log_gain, log_scale = (
        tensor.unflatten(1, (n_chunks, CHUNK))
        for tensor in (query, key, value, log_decay, log_gain, log_scale)
    )
    decay = log_decay.cumsum(2)  # [B, C, L, H], from the start of the chunk
    inside = _within_chunks(query, key, value, decay - log_scale, log_gain - decay)
    last_scale = log_scale[:, :, -1:]
    scale_before = functional.pad(last_scale, (0, 0, 0, 0, 1, -1))
    kept = torch.exp(decay[:, :, -1:] + scale_before - last_scale)  # [B, C, 1, H]
    gain = torch.exp(decay[:, :, -1:] - decay + log_gain - last_scale)
    added = key.transpose(2, 3) @ (gain[..., None] * value).flatten(3)  # [B, C, N, H P]
    states = _scan(kept, added.unflatten(3, value.shape[3:]))
    recalled = (query @ states.flatten(3)).unflatten(3, value.shape[3:])
    y = inside + torch.exp(decay + scale_before - log_scale)[..., None] * recalled
    out: Tensor = y.flatten(1, 2)
    return out


def decayed_attention_step(
    query: Tensor, key: Tensor, value: Tensor, decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """query, key [B, N], value (times its gain) [B, H, P], decay (not its logarithm) [B, H],
    state [B, N, H, P] -> y [B, H, P], next state."""
    batch_size, n_heads, width = value.shape
    added = key.reshape(batch_size, -1, 1, 1) * value.reshape(batch_size, 1, n_heads, width)
    state = decay.reshape(batch_size, 1, n_heads, 1) * state + added
    y = torch.bmm(query.reshape(batch_size, 1, -1), state.reshape(*key.shape, n_heads * width))
    return y.reshape(value.shape), state


def _within_chunks(
    query: Tensor, key: Tensor, value: Tensor, row: Tensor, column: Tensor
) -> Tensor:
    """The terms whose s lies in the chunk of t, weighted by exp(row[t] + column[s])."""
    later = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=row.device).triu(1)
    exponent = row.transpose(2, 3)[..., None] + column.transpose(2, 3)[..., None, :]
    weight = torch.exp(exponent.masked_fill(later, -torch.inf))  # [B, C, H, L, L]
    score = (query @ key.transpose(2, 3))[:, :, None]
    return ((weight * score) @ value.transpose(2, 3)).transpose(2, 3)


def _scan(kept: Tensor, added: Tensor) -> Tensor:
    """state[c + 1] = kept[c] state[c] + added[c] from zero; the state before each chunk.
    kept [B, C, 1, H], added [B, C, N, H, P] -> [B, C, N, H, P]."""
    state = torch.zeros_like(added[:, 0])
    states = [state]
    for chunk in range(added.shape[1] - 1):
        state = torch.addcmul(added[:, chunk], kept[:, chunk, ..., None], state)
        states.append(state)
    return torch.stack(states, 1)
