// What multiplies operands of bfloat16 terms: vector registers, or the tiles of a matrix unit.
//
// Both take C[m][n] = sum over pairs of Left(m, pair) * Right(pair, n) over those pairs of terms (i, j) with i + j < Terms,
// in float32, and give each vector of C to `finish(row, column, vector)`.
#pragma once

#include "bf16_terms.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// A block of rows x registers of C stays in registers while the pairs run, as in gemm_tile.h.
struct VectorEngine {
  template <int Terms, int Rows, int Vectors, class Finish>
  static NERF_SSIM_INLINE void block(
      int pairs, LeftTerms left, const int32_t* right, int64_t panel, int row, int column, const Finish& finish) {
    Vec sum[Rows][Vectors] = {};
    const int32_t* rows = left.data + row * left.row;
    right += column / kTermColumns * panel + column % kTermColumns;
    for (int p = 0; p < pairs; ++p, right += Terms * kTermColumns) {
      IntVec columns[Terms][Vectors];
      for (int t = 0; t < Terms; ++t)
        for (int v = 0; v < Vectors; ++v)
          columns[t][v] = load(
              right + v * kLanes / kTermColumns * panel + t * kTermColumns + v * kLanes % kTermColumns);
      for (int r = 0; r < Rows; ++r)
        for (int i = 0; i < Terms; ++i) {
          const IntVec pair = rows[i * left.term + r * left.row + p] - IntVec{};
          for (int j = 0; i + j < Terms; ++j)
            for (int v = 0; v < Vectors; ++v) sum[r][v] = dot_pairs(sum[r][v], pair, columns[j][v]);
        }
    }
    for (int r = 0; r < Rows; ++r)
      for (int v = 0; v < Vectors; ++v) finish(row + r, column + v * kLanes, sum[r][v]);
  }

  template <int Terms, class Finish>
  static NERF_SSIM_INLINE void multiply(
      int rows, int columns, int depth, LeftTerms left, const int32_t* right, const Finish& finish) {
    // Of AVX-512's 32 registers 24 hold C, 4 the right operand; with several terms 16 and at least 4.
    constexpr bool is_wide = kLanes == 16;
    constexpr int kVectors = is_wide && Terms == 1 ? 4 : 2, kRows = is_wide ? (Terms == 1 ? 6 : 8) : 4;
    const int pairs = pairs_of(depth);
    const int64_t panel = static_cast<int64_t>(padded_pairs(depth)) * Terms * kTermColumns;
    int column = 0;
    for (; column + (kVectors - 1) * kLanes < columns; column += kVectors * kLanes) {
      int row = 0;
      for (; row + kRows <= rows; row += kRows)
        block<Terms, kRows, kVectors>(pairs, left, right, panel, row, column, finish);
      for (; row + 2 <= rows; row += 2) block<Terms, 2, kVectors>(pairs, left, right, panel, row, column, finish);
      if (row < rows) block<Terms, 1, kVectors>(pairs, left, right, panel, row, column, finish);
    }
    for (; column < columns; column += kLanes) {
      int row = 0;
      for (; row + kRows <= rows; row += kRows) block<Terms, kRows, 1>(pairs, left, right, panel, row, column, finish);
      for (; row < rows; ++row) block<Terms, 1, 1>(pairs, left, right, panel, row, column, finish);
    }
  }
};

// Blocks of 32 x 32 of C in four tiles of a matrix unit; two tiles of each operand feed them.
template <class MatrixUnit>
struct TileEngine {
  static constexpr int kTile = 16;  // rows of a tile, and floats or pairs of its rows

  template <int Terms, class Finish>
  static NERF_SSIM_INLINE void multiply(
      int rows, int columns, int depth, LeftTerms left, const int32_t* right, const Finish& finish) {
    MatrixUnit unit;
    const int pairs = padded_pairs(depth);
    for (int column = 0; column < columns; column += kTermColumns, right += pairs * Terms * kTermColumns)
      for (int row = 0; row < rows; row += 2 * kTile)
        block<Terms>(unit, rows - row, columns - column, pairs, left, right, row, column, finish);
  }

  template <int Terms, class Finish>
  static NERF_SSIM_INLINE void block(
      MatrixUnit& unit, int rows, int columns, int pairs, LeftTerms left, const int32_t* right, int row, int column,
      const Finish& finish) {
    const bool has_second = rows > kTile;
    // 1. Tiles 0 to 3 are C, 4 and 5 sixteen rows of the left operand each, 6 and 7 sixteen columns of the right one.
    unit.template zero<0>();
    unit.template zero<1>();
    unit.template zero<2>();
    unit.template zero<3>();
    for (int p = 0; p < pairs; p += kTile)
      for (int i = 0; i < Terms; ++i) {
        const int32_t* from = left.data + i * left.term + row * left.row + p;
        unit.template load<4>(from, left.row);
        if (has_second) unit.template load<5>(from + kTile * left.row, left.row);
        for (int j = 0; i + j < Terms; ++j) {
          const int32_t* to_the_right = right + (p * Terms + j) * kTermColumns;
          unit.template load<6>(to_the_right, Terms * kTermColumns);
          unit.template load<7>(to_the_right + kTile, Terms * kTermColumns);
          unit.template dot<0, 4, 6>();
          unit.template dot<1, 4, 7>();
          if (has_second) {
            unit.template dot<2, 5, 6>();
            unit.template dot<3, 5, 7>();
          }
        }
      }
    // 2. C through memory, since tiles have no other way out.
    alignas(64) float block[2 * kTile][kTermColumns];
    unit.template store<0>(&block[0][0], kTermColumns);
    unit.template store<1>(&block[0][kTile], kTermColumns);
    if (has_second) {
      unit.template store<2>(&block[kTile][0], kTermColumns);
      unit.template store<3>(&block[kTile][kTile], kTermColumns);
    }
    for (int r = 0; r < rows && r < 2 * kTile; ++r)
      for (int n = 0; n < columns && n < kTermColumns; n += kLanes)
        finish(row + r, column + n, nerf_ssim::NERF_SSIM_ISA::load(&block[r][n]));
  }
};

// A matrix unit in plain code, with the tiles and the arithmetic of the real one: for tests, on any machine.
struct EmulatedTiles {
  static constexpr int kTile = 16;
  int32_t tiles[8][kTile][kTile];

  template <int Tile>
  void zero() {
    std::memset(tiles[Tile], 0, sizeof(tiles[Tile]));
  }
  template <int Tile>
  void load(const int32_t* from, int64_t stride) {
    for (int r = 0; r < kTile; ++r) std::memcpy(tiles[Tile][r], from + r * stride, sizeof(tiles[Tile][r]));
  }
  template <int Tile>
  void store(float* to, int64_t stride) {
    for (int r = 0; r < kTile; ++r) std::memcpy(to + r * stride, tiles[Tile][r], sizeof(tiles[Tile][r]));
  }
  template <int Sum, int Left, int Right>
  void dot() {
    for (int m = 0; m < kTile; ++m)
      for (int k = 0; k < kTile; ++k)
        for (int n = 0; n < kTile; n += kLanes) {
          Vec sum;
          std::memcpy(&sum, &tiles[Sum][m][n], sizeof(sum));
          sum = dot_pairs(
              sum, tiles[Left][m][k] - IntVec{}, nerf_ssim::NERF_SSIM_ISA::load(&tiles[Right][k][n]));
          std::memcpy(&tiles[Sum][m][n], &sum, sizeof(sum));
        }
  }
};

#ifdef NERF_SSIM_HAS_BF16
// Intel's AMX. The system must have been asked for its registers (bf16_units.cpp does). Written in assembly, since
// compilers' intrinsics take a tile's number as a literal only.
struct AmxTiles {
  AmxTiles() {
    struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof(config) == 64);
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~AmxTiles() { asm volatile("tilerelease" ::); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  template <int Tile>
  NERF_SSIM_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
  }
  template <int Tile>
  NERF_SSIM_INLINE void load(const int32_t* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride * 4), "i"(Tile) : "memory");
  }
  template <int Tile>
  NERF_SSIM_INLINE void store(float* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride * 4), "i"(Tile) : "memory");
  }
  template <int Sum, int Left, int Right>
  NERF_SSIM_INLINE void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Left), "i"(Right));
  }
};
#endif

}  // namespace nerf_ssim::NERF_SSIM_ISA
