// The level of any CPU (SSE2 on x86-64).
#include "tables.h"

#include "baseline.h"
#include "kernels.h"
#include "adam_kernels.h"
