// Scores jets with a graph that 'hepcnn export' wrote: ONNX Runtime, and nothing of hepcnn's.
//
//   c++ -std=c++17 -I$ORT/include score_jets.cpp -L$ORT/lib -lonnxruntime -o score_jets
//   score_jets model.onnx < jets.txt
//
// jets.txt: "N P F", then for each jet P rows of "mask field_1 ... field_F", in GeV and radians, the fields in the
// order that the graph's metadata give under "fields". Prints a line of probabilities for each jet.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: score_jets model.onnx < jets.txt");
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "score_jets");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, argv[1], options);
  Ort::AllocatorWithDefaultOptions allocator;
  auto said = session.GetModelMetadata().LookupCustomMetadataMapAllocated("fields", allocator);
  if (said) std::cerr << "fields: " << said.get() << '\n';

  std::int64_t n_jets = 0, n_places = 0, n_fields = 0;
  if (!(std::cin >> n_jets >> n_places >> n_fields)) throw std::runtime_error("expected: N P F");
  std::vector<float> values(n_jets * n_places * n_fields), mask(n_jets * n_places);
  for (std::int64_t place = 0; place < n_jets * n_places; ++place) {
    std::cin >> mask[place];
    for (std::int64_t field = 0; field < n_fields; ++field) std::cin >> values[place * n_fields + field];
  }
  if (!std::cin) throw std::runtime_error("fewer numbers than N P F say");

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const std::array<std::int64_t, 3> shape{n_jets, n_places, n_fields};
  const std::array<std::int64_t, 2> flat{n_jets, n_places};
  std::array<Ort::Value, 2> inputs{
      Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size()),
      Ort::Value::CreateTensor<float>(memory, mask.data(), mask.size(), flat.data(), flat.size())};
  const char* input_names[] = {"constituents", "mask"};
  const char* output_names[] = {"score"};
  auto outputs = session.Run(Ort::RunOptions{nullptr}, input_names, inputs.data(), inputs.size(), output_names, 1);

  const auto n_classes = outputs[0].GetTensorTypeAndShapeInfo().GetShape()[1];
  const float* score = outputs[0].GetTensorData<float>();
  std::cout.precision(9);
  for (std::int64_t jet = 0; jet < n_jets; ++jet)
    for (std::int64_t k = 0; k < n_classes; ++k)
      std::cout << score[jet * n_classes + k] << (k + 1 < n_classes ? ' ' : '\n');
} catch (const std::exception& error) {
  std::cerr << "score_jets: " << error.what() << '\n';
  return 1;
}
