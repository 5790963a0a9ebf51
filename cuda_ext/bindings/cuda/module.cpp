// The Python module nerf_ssim._C_cuda. Importing it registers CUDA kernels for the operators that nerf_ssim._C defines;
// the module itself is empty.
#include <Python.h>

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C_cuda() {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C_cuda", "CUDA kernels of nerf_ssim.", -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
