// The Python module nerf_ssim._C. Importing it runs the static registrations of the other files in this folder,
// which define the operators torch.ops.nerf_ssim.*; the module itself is empty.
#include <Python.h>

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C() {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C", "Native kernels of nerf_ssim.", -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
