"""What GPUs can do by their makers' data sheets (SXM versions where not said otherwise)."""

# Part of the name that nvidia-smi gives: dense tensor-core bf16 and CUDA-core f32 in TFLOP/s, memory in GB/s.
peaks = {"A100": (312, 19.5, 2039), "H100 PCIe": (756, 51, 2000), "H100": (989, 67, 3350), "H200": (989, 67, 4800),
         "B200": (2250, 75, 8000), "4090": (165, 82.6, 1008), "L40": (181, 90.5, 864), "A10": (125, 31.2, 600)}
