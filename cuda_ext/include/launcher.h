// The one type of CUDA that declarations of launchers name, so that code for the CPU includes them without CUDA.
//
// A launcher returns a cudaError_t as an int. It has C's linkage so that tests/cuda can call it by its name.
#pragma once

struct CUstream_st;
typedef CUstream_st* cudaStream_t;  // as CUDA's own headers declare it
