// EncoderModel: a trunk in which every token sees every other, with or without a head. Trunk and head are separate
// parts: a model of one task begins with the trunk of another's (see huggingface.h).
#pragma once

#include "models/heads.h"
#include "models/model.h"

namespace engine {

class EncoderModel : public Model {
 public:
  using Model::Model;

  Tensor head_forward(Pass& pass, const Tensor& rows, Saved& saved) override {
    return features_.forward(pass, rows, static_cast<EncoderSaved&>(saved).head);
  }
  Tensor head_backward(Pass& pass, const Tensor& dfeatures, const Tensor& rows, Saved& saved) override {
    return features_.backward(pass, dfeatures, rows, static_cast<EncoderSaved&>(saved).head);
  }
  Parameter& output_projection() override {
    if (!projection_) fail("the model has no head: neither for masked tokens nor for classes");
    return *projection_;
  }
  Parameter* output_bias() override { return projection_bias_; }

 protected:
  struct EncoderSaved : Saved {
    FeatureHead::Saved head;
  };
  // "classifier": one row of features to the classes.
  void add_classifier(int64_t width, float deviation);

  FeatureHead features_;
  Parameter* projection_ = nullptr;
  Parameter* projection_bias_ = nullptr;
};

// A new model of config.architecture with unset parameters: allocate and then initialise or load them.
std::unique_ptr<EncoderModel> make_encoder_model(const ModelConfig& config);

// A new encoder or decoder.
std::unique_ptr<Model> make_model(const ModelConfig& config);

}  // namespace engine
