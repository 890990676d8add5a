#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one and nvcc: bytes against the host, energies against the CPU, memory
# checks where compute-sanitizer is there, times. `ebsynth/tests/on_device.sh [FOLDER FOR PROGRAMS AND LOGS]`
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-/tmp/ebsynth_on_device}")
mkdir -p "$out"
nvcc=(nvcc -std=c++17 -O3 -arch=native -lineinfo -Iinclude -Itests -Xcompiler -pthread)
"${nvcc[@]}" tests/device_test.cpp src/ebsynth_cuda.cu -o "$out/device_test" || exit 1
"${nvcc[@]}" tests/backend_test.cpp src/ebsynth_cpu.cpp src/ebsynth_cuda.cu -ldl -o "$out/backend_test" 2>/dev/null || exit 1
"${nvcc[@]}" tests/cuda_bench.cpp src/ebsynth_cpu.cpp src/ebsynth_cuda.cu -ldl -o "$out/cuda_bench" 2>/dev/null || exit 1
status=0
for program in device_test backend_test; do
  "$out/$program" | tee "$out/$program.log" || status=1
done
"$out/cuda_bench" 2>&1 | tee "$out/cuda_bench.log" || status=1
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck; do
    compute-sanitizer --tool $tool --report-api-errors no --error-exitcode 1 "$out/device_test" >"$out/$tool.log" 2>&1 || status=1
    echo "$tool: $(tail -1 "$out/$tool.log")"
  done
fi
exit $status
