"""Models of bench/torch_steps.py in plain PyTorch, as one would write them for speed: those that transformers has not,
and two that stand for its own where it is not installed."""
import torch
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
    """GPT-2's arrangement. By default it is the small decoder: 256 wide, 4 layers, 8 heads, vocabulary 64."""

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


class Attention(nn.Module):
    def __init__(self, width, heads, cross):
        super().__init__()
        self.heads = heads
        self.inputs = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, 2 * width)] if cross
                                    else [nn.Linear(width, 3 * width)])
        self.output = nn.Linear(width, width)

    def split(self, x, parts):
        B, T, C = x.shape
        return [y.view(B, T, self.heads, -1).transpose(1, 2) for y in x.split(C // parts, 2)]

    def source(self, source):
        return self.split(self.inputs[1](source), 2)

    def forward(self, x, causal=False, keys=None, cache=None, position=0):
        B, T, C = x.shape
        if keys is not None:
            (q,), (k, v) = self.split(self.inputs[0](x), 1), keys
        else:
            q, k, v = self.split(self.inputs[0](x), 3)
        if cache is not None:
            cache[0][:, :, position:position + T], cache[1][:, :, position:position + T] = k, v
            k, v = cache[0][:, :, :position + T], cache[1][:, :, :position + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal and T > 1)
        return self.output(y.transpose(1, 2).reshape(B, T, C))


class PostNormBlock(nn.Module):
    def __init__(self, width, heads, inner, decoder):
        super().__init__()
        self.attention, self.norm1 = Attention(width, heads, cross=False), nn.LayerNorm(width)
        self.decoder = decoder
        if decoder:
            self.cross, self.norm2 = Attention(width, heads, cross=True), nn.LayerNorm(width)
        self.up, self.down, self.norm3 = nn.Linear(width, inner), nn.Linear(inner, width), nn.LayerNorm(width)

    def forward(self, x, keys=None, cache=None, position=0):
        x = self.norm1(x + self.attention(x, causal=self.decoder, cache=cache, position=position))
        if self.decoder:
            x = self.norm2(x + self.cross(x, keys=keys))
        return self.norm3(x + self.down(F.gelu(self.up(x))))


class EncoderDecoder(nn.Module):
    """BART's arrangement: 256 wide, 3 + 3 layers, 8 heads, vocabulary 64."""

    def __init__(self, vocabulary=64, positions=512, width=256, layers=3, heads=8, inner=1024):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.ModuleList(nn.Embedding(positions, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.encoder = nn.ModuleList(PostNormBlock(width, heads, inner, False) for _ in range(layers))
        self.decoder = nn.ModuleList(PostNormBlock(width, heads, inner, True) for _ in range(layers))
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, 0, 0.02)

    def embed(self, ids, side, position=0):
        return self.norms[side](self.tokens(ids) + self.positions[side].weight[position:position + ids.shape[1]])

    def keys(self, source):
        x = self.embed(source, 0)
        for block in self.encoder:
            x = block(x)
        return [block.cross.source(x) for block in self.decoder]

    def decode(self, ids, keys, caches=None, position=0):
        x = self.embed(ids, 1, position)
        for i, block in enumerate(self.decoder):
            x = block(x, keys[i], caches[i] if caches else None, position)
        return F.linear(x[:, -1:] if caches else x, self.tokens.weight)

    def forward(self, source, ids):
        return self.decode(ids, self.keys(source))


class Classifier(nn.Module):
    """BERT with a class a sequence, for sequences of one length: MiniLM's 384 wide, 6 layers, 12 heads."""

    def __init__(self, vocabulary=30522, positions=512, width=384, layers=6, heads=12, inner=1536):
        super().__init__()
        self.vocabulary = vocabulary
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.types, self.norm = nn.Parameter(0.02 * torch.randn(2, width)), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(PostNormBlock(width, heads, inner, False) for _ in range(layers))
        self.pooler, self.classes = nn.Linear(width, width), nn.Linear(width, 2)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(self, ids, labels):
        x = self.norm(self.tokens(ids) + self.positions.weight[:ids.shape[1]] + self.types[0])
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.classes(torch.tanh(self.pooler(x[:, 0]))).float(), labels)


class Lstm(nn.Module):
    """A language model of torch.nn.LSTM with a table of its own for the logits."""

    def __init__(self, vocabulary=64, width=256, layers=2):
        super().__init__()
        self.vocabulary = vocabulary
        self.tokens = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, packed):
        """Logits of a PackedSequence of tokens, a row each in its order."""
        return self.head(self.lstm(packed._replace(data=self.tokens(packed.data)))[0].data)

    def decode(self, ids, state):
        """Logits of the last of these tokens [B, T], and the state behind it."""
        y, state = self.lstm(self.tokens(ids), state)
        return self.head(y[:, -1]), state
