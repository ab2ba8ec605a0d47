"""The models of bench/torch_steps.py that transformers has not: plain PyTorch, as one would write them for speed."""
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x, cache=None, position=0):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(C, 2))
        if cache is not None:
            cache[0][:, :, position:position + T], cache[1][:, :, position:position + T] = k, v
            k, v = cache[0][:, :, :position + T], cache[1][:, :, :position + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + self.output(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Decoder(nn.Module):
    """The small decoder: 256 wide, 4 layers, 8 heads, vocabulary 64."""

    def __init__(self, vocabulary=64, positions=512, width=256, layers=4, heads=8, inner=1024):
        super().__init__()
        self.vocabulary = vocabulary
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads, inner) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(self, ids, caches=None, position=0):
        T = ids.shape[1]
        x = self.tokens(ids) + self.positions.weight[position:position + T]
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None, position)
        if caches:
            x = x[:, -1:]
        return F.linear(self.norm(x), self.tokens.weight)
