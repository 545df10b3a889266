-- Minor step 2: the authorities that a credential's servers are verified with.
-- Stored: never change a step that has been released; append the next one (store/CMakeLists.txt).

ALTER TABLE credential ADD COLUMN ca_file TEXT;
