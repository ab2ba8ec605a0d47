"""What the golden models share: gradients and three clipped AdamW steps, and how a folder of tensors is saved."""
import copy

import torch

# EPSILON is of the size of the gradients: the steps are neither signs, which would blow up the rounding of gradients
# near 0, nor proportional to the gradients.
LEARNING_RATE, BETA1, BETA2, EPSILON, DECAY = 0.01, 0.85, 0.97, 1e-2, 0.1


def adamw_settings(max_norm):
    return torch.tensor([LEARNING_RATE, BETA1, BETA2, EPSILON, DECAY, max_norm], dtype=torch.float64)


def three_steps(model, backward, max_norm):
    """The gradients that the model holds; what three steps, each after backward(), move; the parameters after them."""
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.zero_grad()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(BETA1, BETA2), eps=EPSILON)
    for step in range(3):
        backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        assert norm > 1.2 * max_norm, f"step {step}: nothing is clipped, the norm is {norm}"
        optimizer.step()
        optimizer.zero_grad()
    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    moved = {name: after[name] - before[name] for name in after}
    return gradients, moved, after


def results(run, model, batch, max_norm, autocast=False):
    """All that is compared, of run(model, batch, autocast) -> hidden states, logits, loss; and the parameters after."""
    model = copy.deepcopy(model)
    hidden, logits, loss = run(model, batch, autocast)
    gradients, moved, after = three_steps(model, lambda: run(model, batch, autocast), max_norm)
    return {"hidden": {"": hidden}, "logits": {"": logits}, "loss": {"": loss}, "gradients": gradients,
            "moved": moved}, after


def error(actual, expected):
    """Tensors that are nothing but rounding do not count: a key's bias moves no softmax."""
    sizes = {k: expected[k].abs().max().item() for k in expected}
    return max((actual[k].double() - expected[k]).abs().max().item() / size for k, size in sizes.items()
               if size > 1e-9 * max(sizes.values()))


def save_folder(model, folder, tensors):
    """The model's folder, in f32, with these tensors for its parameters."""
    model = copy.deepcopy(model).float()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(tensors[key])
    model.save_pretrained(folder)
