// What is changed in a tool's file, and that everything else keeps its bytes.
#include "migrate/formats/json_edit.h"

#include <random>

#include "migrate/formats/json_text.h"
#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using namespace authdb::migrate::testing;

std::string edit(const std::string& text, const std::function<void(json&)>& change) {
  json tree = json::parse(text);
  change(tree);
  const Secret edited = edited_text(text, std::move(tree));
  return std::string(edited.reveal());
}

constexpr const char* kFile =
    "{\n\t\"z\" : {\"access\":\"a\",  \"expires\": 2.50e12 },\n\t\"a\": [ 1, {\"n\":\"\\u00e9\"} "
    "],\n"
    "\t\"m\":null\n}\n\n";

TEST(JsonEdit, WithoutAChangeEveryByteStays) {
  EXPECT_EQ(edit(kFile, [](json&) {}), kFile);
}

TEST(JsonEdit, AValueIsReplacedWhereItStands) {
  EXPECT_EQ(edit(kFile, [](json& tree) { tree["z"]["access"] = "b\"\n"; }),
            "{\n\t\"z\" : {\"access\":\"b\\\"\\n\",  \"expires\": 2.50e12 },\n\t\"a\": [ 1, "
            "{\"n\":\"\\u00e9\"} ],\n\t\"m\":null\n}\n\n");
  EXPECT_EQ(edit(kFile, [](json& tree) { tree["a"][1]["n"] = 3; }),
            "{\n\t\"z\" : {\"access\":\"a\",  \"expires\": 2.50e12 },\n\t\"a\": [ 1, {\"n\":3} ],\n"
            "\t\"m\":null\n}\n\n");
}

TEST(JsonEdit, ANewMemberGoesBehindTheOthersAndIsSpacedAlike) {
  EXPECT_EQ(edit("{\n  \"a\": 1\n}", [](json& tree) { tree["b"] = nullptr; }),
            "{\n  \"a\": 1,\n  \"b\": null\n}");
  EXPECT_EQ(edit("{ }", [](json& tree) { tree["b"] = 1; }), "{ \"b\": 1 }");
  EXPECT_EQ(edit("{\"a\":1}", [](json& tree) { tree["b"] = 2; }), "{\"a\":1,\"b\":2}");
}

TEST(JsonEdit, AMemberThatIsGoneTakesItsCommaAlong) {
  const std::string text = "{\"a\": 1, \"b\": 2, \"c\": 3}";
  EXPECT_EQ(edit(text, [](json& tree) { tree.erase("a"); }), "{ \"b\": 2, \"c\": 3}");
  EXPECT_EQ(edit(text, [](json& tree) { tree.erase("c"); }), "{\"a\": 1, \"b\": 2}");
  EXPECT_EQ(edit(text, [](json& tree) { tree.clear(); }), "{}");
}

TEST(JsonEdit, AByteOrderMarkStays) {
  EXPECT_EQ(edit("\xEF\xBB\xBF {\"a\": 1}", [](json& tree) { tree["a"] = 2; }),
            "\xEF\xBB\xBF {\"a\": 2}");
}

TEST(JsonEdit, KeysAreComparedByWhatTheySayNotByHowTheyAreSpelt) {
  EXPECT_EQ(edit(R"({"\u0061\/":1,"b":"}]"})", [](json& tree) { tree["b"] = 2; }),
            R"({"\u0061\/":1,"b":2})");
}

// Some value of the tree, changed in some way.
void change_something(json& node, std::mt19937& random) {
  if (node.is_structured() && !node.empty() && random() % 4 != 0) {
    auto it = node.begin();
    std::advance(it, random() % node.size());
    return change_something(*it, random);
  }
  switch (random() % 4) {
    case 0:
      node = "changed";
      break;
    case 1:
      node = {{"made", {1, "x", nullptr}}};
      break;
    case 2:
      if (node.is_object()) node["added"] = 1.5;
      if (node.is_array()) node.push_back("added");
      break;
    default:
      if (node.is_structured() && !node.empty()) node.erase(node.begin());
  }
}

TEST(JsonEdit, WhateverIsChangedIsWhatIsReadAfterwards) {
  std::mt19937 random(7);
  for (const auto& entry : fs::directory_iterator(fs::path(AUTHDB_TEST_DATA) / "samples")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto tree = parse_json(text, "p");
    if (!tree) continue;
    for (const int indent : {-1, 0, 2, 7}) {
      const std::string spelt = indent < 0 ? text : tree->dump(indent);
      for (int round = 0; round < 50; ++round) {
        json after = *tree;
        change_something(after, random);
        const json expected = after;
        const Secret edited = edited_text(spelt, std::move(after));
        const auto read = parse_json(edited.reveal(), "p");
        ASSERT_TRUE(read) << entry.path() << read.error().message;
        ASSERT_EQ(*read, expected) << entry.path();
      }
    }
  }
}

}  // namespace
}  // namespace authdb::migrate
