"""What GPUs and the links between them can do, by their makers' data sheets (SXM versions where not said otherwise)."""

# Part of the name that nvidia-smi gives: dense tensor-core bf16 and CUDA-core f32 in TFLOP/s, memory in GB/s.
peaks = {"A100": (312, 19.5, 2039), "H100 PCIe": (756, 51, 2000), "H100": (989, 67, 3350), "H200": (989, 67, 4800),
         "B200": (2250, 75, 8000), "4090": (165, 82.6, 1008), "L40": (181, 90.5, 864), "A10": (125, 31.2, 600)}

# Multiprocessors of a GPU (same data sheets).
multiprocessors = {"A100": 108, "H100": 132}

# NVLinks of a GPU in a box with switches, and GB/s of each in one direction: by the data sheet (A100: 600 GB/s in both
# directions together, H100: 900 GB/s), and what NCCL counts on (SM80_NVLINK_BW and SM90_NVLINK_BW in src/graph/topo.h of
# github.com/NVIDIA/nccl, 2.30). 8 H100s were measured at 376 GB/s (github.com/NVIDIA/nccl, issue 1264).
nvlinks = {"A100": (12, 25, 20.0), "H100": (18, 25, 20.6)}

# Adapters of a box of 8 GPUs, and GB/s of each in one direction: the data sheet's rate, and what NCCL counts on (the next
# lower number of the tables speedArrayInter and sm90SpeedArrayInter in src/graph/search.cc). DGX A100 has 8 ConnectX-6
# with HDR InfiniBand at 200 Gb/s, DGX H100 has 8 ConnectX-7 with NDR at 400 Gb/s (NVIDIA's user guides of both).
networks = {"HDR": (8, 25, 24.0), "NDR": (8, 50, 48.0), "Ethernet 100 Gb/s": (1, 12.5, 12.0)}
