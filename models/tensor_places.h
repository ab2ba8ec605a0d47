// Matches the tensors of a model folder with the parameters whose rows they hold.
#pragma once

#include <string>
#include <vector>

#include "models/huggingface_format.h"
#include "models/parameters.h"

namespace engine {

// A place is a tensor of the file. It holds rows of a parameter, mostly all of them.
struct Place {
  Parameter* parameter;
  std::string name;  // in the file, with the prefix
  bool transposed;
  Shape shape;        // these rows' shape
  int64_t first = 0;  // its first element in the parameter
  int64_t heads = 0;  // theirs has the rows [H, 3, D] where ours are [3, H, D]; 0: the same order

  // Returns the rows of theirs that lie together in ours.
  int64_t rows_together() const { return heads ? shape[0] / (3 * heads) : shape[0]; }
  // Returns the place in our rows of a row of theirs.
  int64_t our_row(int64_t row) const {
    const int64_t together = rows_together(), block = row / together;
    return heads ? (block % 3 * heads + block / 3) * together + row % together : row;
  }
};

// Returns a name with the layer's number in place of its star.
std::string with_layer(std::string name, int64_t layer);

// Lists the places of the model's parameters. The table of names has those of every head.
std::vector<Place> places_of(const HuggingFaceFormat& format, Parameters& parameters, int64_t heads);

std::vector<int64_t> shape_in_file(const Place& place);

}  // namespace engine
