#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/trainer/data/ingest_fixture.h"
#include "trainer/data/dataset_description.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/text_examples.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class ExampleIngestTest : public testing::IngestFixture {
 protected:
  SchemaOptions schema_of(const std::string& path) const {
    SchemaOptions schema;
    schema.example_file.paths = {path};
    schema.examples.texts = {"title", "text"};
    schema.examples.label = "label";
    return schema;
  }

  std::string refusal(const SchemaOptions& schema, ExitCode code = ExitCode::kBadData) {
    return message_of<DataError>([&] { run(schema); }, code);
  }
};

TEST_F(ExampleIngestTest, ReadsTabsWithoutAHeaderFromNamedFiles) {
  SchemaOptions schema;
  schema.example_file = {{file("train.tsv", "a \"fine\" film\t1\nbad\t0\na \"fine\" film\t1\n")},
                         FileKind::kDelimited,
                         '\t',
                         false,
                         false};
  schema.examples.texts = {"1"};
  schema.examples.label = "2";
  schema.examples.valid_paths = {file("dev.tsv", "so so\t0\n")};
  schema.examples.test_paths = {file("test.tsv", "good\t1\nworse\t0\n")};
  const DatasetRecord record = run(schema);
  EXPECT_EQ(record.examples, 6);  // equal rows are kept
  EXPECT_THAT(record.parts, ElementsAre(Pair("test", 2), Pair("train", 3), Pair("valid", 1)));
  ASSERT_EQ(record.labels.size(), 2U);
  EXPECT_EQ(record.labels[0].name, "0");
  EXPECT_EQ(record.labels[0].count, 3);
  ASSERT_EQ(record.windows.size(), 1U);
  EXPECT_EQ(record.windows[0].sources.size(), 3U);

  const TextExamples examples = TextExamples::open(options_.out);
  EXPECT_EQ(examples.texts.at(0), "a \"fine\" film");
  EXPECT_THAT(examples.labels, ElementsAre(1, 0, 1, 0, 1, 0));
  EXPECT_THAT(examples.label_names, ElementsAre("0", "1"));
  EXPECT_THAT(examples.weights, ElementsAre(1, 1, 1, 1, 1, 1));
  const ExampleSplit split = split_examples(examples, {});
  EXPECT_THAT(split.train, ElementsAre(0, 1, 2));
  EXPECT_THAT(split.valid, ElementsAre(3));
  EXPECT_THAT(split.test, ElementsAre(4, 5));
  EXPECT_NO_THROW(verify_dataset(options_.out));
  const DatasetRecord again = read_dataset_record(options_.out);
  EXPECT_EQ(again.schema.examples.test_paths, schema.examples.test_paths);
  EXPECT_EQ(again.labels[1].count, 3);
  EXPECT_EQ(again.windows[0].examples, 6);
}

TEST_F(ExampleIngestTest, JoinsColumnsAndTakesNamesWeightsAndGroups) {
  auto schema = schema_of(file("e.csv",
                               "title,text,label,w,product,answer\n"
                               ",\"two\nlines\",5,0.5,p1,yes\nTitle,body,1,2,p2,\n,,1,1,p3,no\n"));
  schema.examples.second_texts = {"answer"};
  schema.examples.label_names = {{"1", "bad"}, {"2", "bad"}, {"5", "good"}};
  schema.examples.weight = "w";
  schema.examples.group = "product";
  schema.example_filters = {{"answer", Comparison::kNotEqual, "no"}};
  const DatasetRecord record = run(schema);
  EXPECT_EQ(record.rows_filtered, 1);
  const TextExamples examples = TextExamples::open(options_.out);
  ASSERT_EQ(examples.size(), 2);
  EXPECT_EQ(examples.texts.at(0), "two\nlines");
  EXPECT_EQ(examples.texts.at(1), "Title body");
  EXPECT_EQ(examples.second_texts.at(0), "yes");
  EXPECT_EQ(examples.second_texts.at(1), "");
  EXPECT_THAT(examples.label_names, ElementsAre("bad", "good"));
  EXPECT_THAT(examples.labels, ElementsAre(1, 0));
  EXPECT_THAT(examples.weights, ElementsAre(0.5F, 2.0F));
  EXPECT_NE(examples.groups[0], examples.groups[1]);
}

TEST_F(ExampleIngestTest, ReadsJsonLinesAndOrdersNumbersAsNumbers) {
  auto schema = schema_of(file("e.jsonl",
                               "{\"title\": \"x\", \"text\": \"y\", \"label\": 10}\n"
                               "{\"title\": \"\", \"text\": \"z\", \"label\": 9}\n"));
  schema.example_file.kind = FileKind::kJsonLines;
  run(schema);
  const TextExamples examples = TextExamples::open(options_.out);
  EXPECT_EQ(examples.texts.at(0), "x y");
  EXPECT_THAT(examples.label_names, ElementsAre("9", "10"));
  EXPECT_THAT(examples.parts, ElementsAre(ExamplePart::kDrawn, ExamplePart::kDrawn));
}

TEST_F(ExampleIngestTest, RejectsRowsWithoutTextOrLabelAndSaysWhere) {
  std::string text = "title,text,label\n";
  for (int i = 0; i < 20; ++i) text += "t,row " + std::to_string(i) + ",a\n,row,b\n";
  auto schema = schema_of(file("e.csv", text + ", ,a\nx,y,\n"));
  schema.max_rejected_fraction = 0.1;
  const DatasetRecord record = run(schema);
  EXPECT_EQ(record.examples, 40);
  EXPECT_THAT(record.rejected, ElementsAre(Pair("empty label", 1), Pair("empty text", 1)));
  EXPECT_THAT(read_file(options_.out / kRejectedFile, 1 << 20), HasSubstr("e.csv:42\tempty text\t"));

  options_.overwrite = true;
  schema.max_rejected_fraction = 0.01;
  const std::string message = refusal(schema);
  EXPECT_THAT(message, HasSubstr("2 of 42 rows were rejected, schema.max_rejected_fraction is 0.01"));
  EXPECT_THAT(message, HasSubstr("e.csv:"));
  EXPECT_EQ(read_dataset_record(options_.out).examples, 40);  // what was there stays
}

TEST_F(ExampleIngestTest, RefusesLabelsThatNobodyCanLearn) {
  auto schema = schema_of(file("e.csv", "title,text,label\n,x,a\n,y,b\n"));
  schema.examples.test_paths = {file("t.csv", "title,text,label\n,x,c\n")};
  EXPECT_THAT(refusal(schema),
              HasSubstr("label that no training example has (1), first at " + (root_ / "t.csv").string() + ":2"));
  schema.examples.test_paths.clear();
  schema.examples.label_names = {{"a", "A"}, {"B", "B"}};
  EXPECT_THAT(refusal(schema), HasSubstr("unknown label (1), first at " + (root_ / "e.csv").string() + ":3"));
  EXPECT_THAT(refusal(schema_of(file("one.csv", "title,text,label\n,x,a\n,y,a\n"))),
              HasSubstr("all 2 examples have the label \"a\""));
  EXPECT_THAT(refusal(schema_of(file("no.csv", "title,text\n,x\n"))), HasSubstr("label"));
  options_.append = true;
  message_of<ConfigError>([&] { run(schema); }, ExitCode::kBadConfiguration);
}

TEST_F(ExampleIngestTest, ASchemaIsOfAShopOrOfTexts) {
  auto schema = schema_of(file("e.csv", "title,text,label\n,x,a\n,y,b\n"));
  schema.event_file.paths = {"events.csv"};
  EXPECT_THAT(message_of<ConfigError>([&] { run(schema); }, ExitCode::kBadConfiguration),
              HasSubstr("name one of them"));
  const auto shop = file("events.csv", "user,item,time,what\nu,i,1,view\n");
  run(plain_schema(shop, file("items.csv", "item,title,about,genres\ni,Shoe,,\n")));
  EXPECT_THAT(message_of<DataError>([&] { TextExamples::open(options_.out); }, ExitCode::kMissingInput),
              HasSubstr("it is the dataset of a shop"));
}

TEST(SplitExamples, DrawsFractionsAndKeepsEqualTextsAndGroupsTogether) {
  TextExamples examples;
  for (int i = 0; i < 2000; ++i) {
    append_text("text " + std::to_string(i % 1000), examples.texts);
    examples.groups.push_back(i % 1000 < 300 ? 1 + static_cast<uint64_t>(i % 1000 % 30) : 0);
    examples.labels.push_back(i % 2);
    examples.parts.push_back(ExamplePart::kDrawn);
  }
  SplitOptions options;
  options.valid_fraction = 0.1;
  options.test_fraction = 0.2;
  const ExampleSplit split = split_examples(examples, options);
  EXPECT_NEAR(static_cast<double>(split.test.size()), 400, 20);
  EXPECT_NEAR(static_cast<double>(split.valid.size()), 200, 20);
  EXPECT_EQ(split.train.size() + split.valid.size() + split.test.size(), 2000U);
  std::map<std::string, std::set<int>> sides;  // of a text or group
  const auto note = [&](const std::vector<int64_t>& list, int side) {
    for (const int64_t i : list) {
      sides[std::string(examples.texts.at(i))].insert(side);
      const uint64_t group = examples.groups[static_cast<size_t>(i)];
      if (group != 0) sides["group " + std::to_string(group)].insert(side);
    }
  };
  note(split.train, 0);
  note(split.valid, 1);
  note(split.test, 2);
  EXPECT_EQ(sides.size(), 1030U);
  for (const auto& [what, where] : sides) EXPECT_EQ(where.size(), 1U) << what;
  options.seed = 2;
  EXPECT_NE(split_examples(examples, options).test, split.test);

  for (size_t i = 0; i < 50; ++i) examples.parts[i] = ExamplePart::kTest;  // a file of its own: nothing else is drawn
  EXPECT_EQ(split_examples(examples, options).test.size(), 50U);
  options.valid_fraction = 0;
  EXPECT_THAT(split_examples(examples, options).valid, IsEmpty());
}

}  // namespace
}  // namespace rondo
