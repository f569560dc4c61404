"""What a CUDA machine must show, by itself: `make test-gpu`. Without vLLM's GPU build and a GPU these tests are skipped."""
