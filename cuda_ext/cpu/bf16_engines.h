// What multiplies operands of bfloat16 terms: vector registers, or the tiles of a matrix unit.
//
// Both take C[m][n] = sum over pairs of Left(m, pair) * Right(pair, n) over those pairs of terms (i, j) with i + j <
// Terms, in float32, and give each vector of C to `finish(row, column, vector)`.
#pragma once

#include "bf16_terms.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// A block of rows x registers of C stays in registers while the pairs run, as in gemm_tile.h.
struct VectorEngine {
  static constexpr int kSamples = 144;  // of a small network's tile: 24 blocks

  template <int Terms, int Rows, int Vectors, class Finish>
  static NERF_SSIM_INLINE void block(int pairs, LeftTerms left, const int32_t* right, int64_t panel, int row,
                                     int column, const Finish& finish) {
    Vec sum[Rows][Vectors] = {};
    const int32_t* rows = left.data + row * left.row;
    right += column / kTermColumns * panel + column % kTermColumns;
    for (int p = 0; p < pairs; ++p, right += Terms * kTermColumns) {
      IntVec columns[Terms][Vectors];
      for (int t = 0; t < Terms; ++t)
        for (int v = 0; v < Vectors; ++v)
          columns[t][v] =
              load(right + v * kLanes / kTermColumns * panel + t * kTermColumns + v * kLanes % kTermColumns);
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
  static NERF_SSIM_INLINE void multiply(int rows, int columns, int depth, LeftTerms left, const int32_t* right,
                                        const Finish& finish) {
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

// Blocks of 32 x 16 of C in two tiles of a matrix unit, one tile for each operand beside them. All eight tiles would
// hold blocks of 32 x 32, which load a third less. But where two threads share a core, the processor has no spare tiles
// to rename those to, and each load then waits for the product that still reads its tile: 790 ticks instead of 505 for
// the products of such a block (on a core of its own 249 instead of 265).
template <class MatrixUnit>
struct TileEngine {
  static constexpr int kTile = 16;         // rows of a tile, and floats or pairs of its rows
  static constexpr int kRows = 2 * kTile;  // of a block
  static constexpr int kSamples = 192;     // of a small network's tile: whole blocks, and whole tiles in depth

  template <int Terms, class Finish>
  static NERF_SSIM_INLINE void multiply(int rows, int columns, int depth, LeftTerms left, const int32_t* right,
                                        const Finish& finish) {
    MatrixUnit unit;
    const int pairs = padded_pairs(depth);
    const int64_t panel = static_cast<int64_t>(pairs) * Terms * kTermColumns;
    alignas(64) float memory[2][kRows * kTile];
    Block last;
    int turn = 0;
    for (int row = 0; row < rows; row += kRows, left.data += kRows * left.row)
      for (int column = 0; column < columns; column += kTile, turn ^= 1) {
        const int32_t* from = right + column / kTermColumns * panel + column % kTermColumns;
        const bool has_second = rows - row > kTile;
        // 1. The products, and while the unit is busy with them, what the block before still needs.
        if (has_second)
          products<Terms, true>(unit, pairs, left, from);
        else
          products<Terms, false>(unit, pairs, left, from);
        last.finish_with(finish);
        // 2. To memory, since tiles have no other way out.
        unit.template store<0>(memory[turn], kTile);
        if (has_second) unit.template store<1>(memory[turn] + kTile * kTile, kTile);
        last = {memory[turn], row, column, smaller(rows - row, kRows), smaller(columns - column, kTile)};
      }
    last.finish_with(finish);
  }

 private:
  static NERF_SSIM_INLINE int smaller(int a, int b) { return a < b ? a : b; }

  // A block that has left its tiles. Its numbers are read one block later, for a read right after the store would wait
  // until the store has reached the cache.
  struct Block {
    const float* data = nullptr;
    int64_t row = 0, column = 0;
    int rows = 0, columns = 0;

    template <class Finish>
    NERF_SSIM_INLINE void finish_with(const Finish& finish) const {
      if (rows == kRows && columns == kTile)  // constants for the compiler
        finish_all(kRows, kTile, finish);
      else
        finish_all(rows, columns, finish);
    }

    template <class Finish>
    NERF_SSIM_INLINE void finish_all(int64_t high, int64_t wide, const Finish& finish) const {
      for (int64_t n = 0; n < wide; n += kLanes)
        for (int64_t r = 0; r < high; ++r)
          finish(row + r, column + n, nerf_ssim::NERF_SSIM_ISA::load(data + r * kTile + n));
    }
  };

  // Tiles 0 and 1 are C, 2 sixteen rows of the left operand, 3 sixteen columns of the right one.
  template <int Terms, bool HasSecond>
  static NERF_SSIM_INLINE void products(MatrixUnit& unit, int pairs, LeftTerms left, const int32_t* right) {
    unit.template zero<0>();
    if constexpr (HasSecond) unit.template zero<1>();
    for (int p = 0; p < pairs; p += kTile, left.data += kTile, right += kTile * Terms * kTermColumns)
      for (int i = 0; i < Terms; ++i)
        for (int j = 0; i + j < Terms; ++j) {
          const int32_t* rows = left.data + i * left.term;
          unit.template load<3>(right + j * kTermColumns, Terms * kTermColumns);
          unit.template load<2>(rows, left.row);
          unit.template dot<0, 2, 3>();
          if constexpr (HasSecond) {
            unit.template load<2>(rows + kTile * left.row, left.row);
            unit.template dot<1, 2, 3>();
          }
        }
  }
};

// A matrix unit in plain code, with the tiles and the arithmetic of the real one: for tests, on any machine.
struct EmulatedTiles {
  static constexpr int kTile = 16;
  int32_t tiles[4][kTile][kTile];

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
          sum = dot_pairs(sum, tiles[Left][m][k] - IntVec{}, nerf_ssim::NERF_SSIM_ISA::load(&tiles[Right][k][n]));
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
      uint16_t row_bytes[16] = {64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16};
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
