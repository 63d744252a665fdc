// The same header from C++: objects that free themselves, and threads of the standard library.
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "llmd.h"

namespace {

template <auto Free>
struct Freed {
    template <class T>
    void operator()(T *object) const {
        Free(object);
    }
};

using Index = std::unique_ptr<llmd_index, Freed<llmd_index_free>>;
using Scheduler = std::unique_ptr<llmd_scheduler, Freed<llmd_scheduler_free>>;
using Endpoint = std::unique_ptr<llmd_endpoint, Freed<llmd_endpoint_free>>;
using Decision = std::unique_ptr<llmd_decision, Freed<llmd_decision_free>>;

struct Failure : std::runtime_error {
    llmd_status status;
    explicit Failure(llmd_error *error)
        : std::runtime_error(llmd_error_message(error)), status(llmd_error_status(error)) {
        llmd_error_free(error);
    }
};

// Calls with a place for the error, and throws it.
template <class Call>
auto done(Call call) {
    llmd_error *error = nullptr;
    auto answer = call(&error);
    if (error != nullptr) throw Failure(error);
    return answer;
}

void check(bool so, const char *what) {
    if (!so) throw std::logic_error(what);
}

const char *const yaml =
    "apiVersion: llm-d.ai/v1alpha1\n"
    "kind: EndpointPickerConfig\n"
    "plugins:\n"
    "- type: active-request-scorer\n"
    "schedulingProfiles:\n"
    "- name: default\n"
    "  plugins:\n"
    "  - {pluginRef: active-request-scorer, weight: 1}\n";

void run() {
    llmd_index_settings settings{};
    settings.struct_size = sizeof settings;
    const Index index(done([&](llmd_error **error) { return llmd_index_new(&settings, error); }));
    const Scheduler scheduler(done([&](llmd_error **error) { return llmd_scheduler_from_yaml(yaml, index.get(), error); }));

    std::vector<Endpoint> endpoints;
    std::vector<llmd_endpoint *> pool;
    for (const std::string name : {"pod-0", "pod-1"}) {
        llmd_endpoint_settings endpoint{};
        endpoint.struct_size = sizeof endpoint;
        endpoint.name = name.c_str();
        endpoint.address = "10.0.0.1:8000";
        endpoints.emplace_back(done([&](llmd_error **error) { return llmd_endpoint_new(&endpoint, index.get(), error); }));
        pool.push_back(endpoints.back().get());
    }

    // Two requests at once go to two endpoints, whichever thread asks.
    std::vector<Decision> decisions(2);
    for (auto &decision : decisions) {
        std::thread([&] {
            llmd_request request{};
            request.struct_size = sizeof request;
            request.model = "tiny";
            llmd_decision *made = nullptr;
            check(llmd_scheduler_decide(scheduler.get(), &request, pool.data(), pool.size(), &made, nullptr) == LLMD_OK,
                  "it decides");
            decision.reset(made);
        }).join();
    }
    check(std::string(llmd_decision_endpoint(decisions[0].get())) != llmd_decision_endpoint(decisions[1].get()),
          "a burst spreads");
    decisions.clear();
    check(llmd_endpoint_in_flight_requests(pool[0]) == 0, "a decision that goes releases");

    try {
        done([&](llmd_error **error) { return llmd_index_clear(index.get(), "nobody", error); });
        check(false, "who is not known is refused");
    } catch (const Failure &failure) {
        check(failure.status == LLMD_INVALID && std::strstr(failure.what(), "nobody") != nullptr, "the error says who");
    }
}

}  // namespace

int main() {
    try {
        run();
    } catch (const std::exception &failure) {
        std::cerr << failure.what() << '\n';
        return 1;
    }
    std::cout << "smoke in C++: done\n";
    return 0;
}
