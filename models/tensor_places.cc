#include "models/tensor_places.h"

namespace engine {

std::string with_layer(std::string name, int64_t layer) {
  const size_t star = name.find('*');
  return star == std::string::npos ? name : name.replace(star, 1, std::to_string(layer));
}

std::vector<Place> places_of(const HuggingFaceFormat& format, Parameters& parameters, int64_t heads) {
  const int64_t layers = parameters.layers();
  std::vector<Place> places;
  int64_t named = 0;
  const auto add = [&](const TensorNames& names) {
    const bool of_a_layer = names.ours.find('*') != std::string::npos;
    for (int64_t layer = 0; layer < (of_a_layer ? layers : 1); ++layer) {
      Parameter* const parameter = parameters.find(with_layer(names.ours, layer));
      if (!parameter) continue;
      Place place{parameter, with_layer(names.theirs, layer), names.transposed, parameter->shape};
      place.shape.sizes[0] /= names.parts;
      place.first = names.part * place.shape.count();
      if (names.by_head) place.heads = heads;
      named += place.shape.count();
      places.push_back(std::move(place));
    }
  };
  for (const TensorNames& names : format.names) add(names);
  for (const TensorNames& names : thought_names()) add(names);
  require(named == parameters.count(), "the Hugging Face names of ", format.architecture,
          " do not name every parameter");
  return places;
}

std::vector<int64_t> shape_in_file(const Place& place) {
  std::vector<int64_t> shape(place.shape.sizes.begin(), place.shape.sizes.begin() + place.shape.rank);
  if (place.transposed) std::swap(shape[0], shape[1]);
  return shape;
}

}  // namespace engine
